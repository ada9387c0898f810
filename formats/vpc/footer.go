package vpc

import (
	"crypto/rand"
	"encoding/binary"
	"syscall"
	"time"

	"platter/formats/qerr"
)

const (
	sectorSize = 512
	footerSize = 512

	typeFixed        = 2
	typeDynamic      = 3
	typeDifferencing = 4

	// maxSectors is 2040 GiB.
	maxSectors = 0xff000000
	// maxGeometry is the largest number of sectors that cylinders, heads and sectors per track can say.
	maxGeometry = 65535 * 16 * 255

	epoch = 946684800 // 2000-01-01 in Unix time

	noOffset = 1<<64 - 1
)

// Places of the footer's fields.
const (
	atCookie     = 0
	atFeatures   = 8
	atVersion    = 12
	atDataOffset = 16
	atTimestamp  = 24
	atCreator    = 28
	atCreatorVer = 32
	atCreatorOS  = 36
	atOrigSize   = 40
	atSize       = 48
	atCylinders  = 56
	atHeads      = 58
	atTrack      = 59
	atType       = 60
	atChecksum   = 64
	atUUID       = 68
)

const cookie = "conectix"

// footer is the sector as it is in the file; what platter does not know survives.
type footer [footerSize]byte

func (f *footer) valid() bool { return string(f[:8]) == cookie }

func (f *footer) kind() uint32 { return binary.BigEndian.Uint32(f[atType:]) }

func (f *footer) dataOffset() int64 { return int64(binary.BigEndian.Uint64(f[atDataOffset:])) }

// checksum is the one's complement of the sum of all bytes but those of the checksum itself, which lies at.
func checksum(p []byte, at int) uint32 {
	sum := uint32(0)
	for i, b := range p {
		if i < at || i >= at+4 {
			sum += uint32(b)
		}
	}
	return ^sum
}

// sectors is the disk's size. The geometry counts if the creator is known to go by it, or if it is forced; where it is
// at its limit, and for everybody else, the size field does.
func (f *footer) sectors(mode string) (int64, error) {
	be := binary.BigEndian
	chs := int64(be.Uint16(f[atCylinders:])) * int64(f[atHeads]) * int64(f[atTrack])
	current := be.Uint64(f[atSize:]) / sectorSize
	creator := string(f[atCreator : atCreator+4])
	useCHS := creator == "vpc " || creator == "qemu"
	switch mode {
	case "chs":
		useCHS = true
	case "current_size":
		useCHS = false
	}
	if useCHS && chs != maxGeometry {
		return chs, nil
	}
	if current > maxSectors {
		return 0, syscall.EFBIG
	}
	return int64(current), nil
}

// newFooter makes the footer of a new image.
func newFooter(kind uint32, sectors int64, g geometry, forced bool) *footer {
	f := &footer{}
	be := binary.BigEndian
	copy(f[atCookie:], cookie)
	be.PutUint32(f[atFeatures:], 2) // a bit that is always set
	be.PutUint32(f[atVersion:], 0x00010000)
	be.PutUint64(f[atDataOffset:], noOffset)
	if kind != typeFixed {
		be.PutUint64(f[atDataOffset:], footerSize)
	}
	be.PutUint32(f[atTimestamp:], uint32(time.Now().Unix()-epoch))
	// Readers, QEMU among them, tell by the creator whether the geometry or the size counts.
	creator := "qemu"
	if forced {
		creator = "qem2"
	}
	copy(f[atCreator:], creator)
	be.PutUint32(f[atCreatorVer:], 0x00050003)
	copy(f[atCreatorOS:], "Wi2k")
	be.PutUint64(f[atOrigSize:], uint64(sectors)*sectorSize)
	be.PutUint64(f[atSize:], uint64(sectors)*sectorSize)
	be.PutUint16(f[atCylinders:], g.cylinders)
	f[atHeads], f[atTrack] = g.heads, g.track
	be.PutUint32(f[atType:], kind)
	rand.Read(f[atUUID : atUUID+16])
	f[atUUID+6] = f[atUUID+6]&0x0f | 0x40
	f[atUUID+8] = f[atUUID+8]&0x3f | 0x80
	be.PutUint32(f[atChecksum:], checksum(f[:], atChecksum))
	return f
}

// check verifies the checksum.
func (f *footer) check() error {
	if binary.BigEndian.Uint32(f[atChecksum:]) != checksum(f[:], atChecksum) {
		return qerr.New(syscall.EINVAL, "Incorrect header checksum")
	}
	return nil
}
