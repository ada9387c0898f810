package vdi

import (
	"crypto/rand"
	"encoding/binary"
	"syscall"

	"platter/formats/qerr"
)

const (
	signature  = 0xbeda107f
	version11  = 0x00010001
	headerSize = 512
	sectorSize = 512
	blockSize  = 1 << 20

	typeDynamic = 1
	typeStatic  = 2

	unallocated = 0xffffffff
	discarded   = 0xfffffffe

	maxSize = 0x1fffff8000000
)

// Places of the identifiers in the header: of the image, of its last change, of the parent and of the parent's last change
// when the image was made.
const (
	atID           = 392
	atChange       = 408
	atLink         = 424
	atParentChange = 440
)

// preamble is the text that QEMU puts at the start of a file.
const preamble = "<<< QEMU VM Virtual Disk Image >>>\n"

// header holds the fields that matter; the sector it was read from is kept, so that the others survive.
type header struct {
	raw         [headerSize]byte
	imageType   uint32
	offsetMap   uint32
	offsetData  uint32
	diskSize    uint64
	blocks      uint32
	allocated   uint32
	link        [16]byte // the parent's identifier, if the image is a differencing one
	hasParent   bool     // there is a stamp of the parent's last change
	version     uint32
	sectorSize  uint32
	blockSize   uint32
	signatureIs uint32
}

func parse(raw []byte) *header {
	le := binary.LittleEndian
	h := &header{
		signatureIs: le.Uint32(raw[64:]), version: le.Uint32(raw[68:]), imageType: le.Uint32(raw[76:]),
		offsetMap: le.Uint32(raw[340:]), offsetData: le.Uint32(raw[344:]), sectorSize: le.Uint32(raw[360:]),
		diskSize: le.Uint64(raw[368:]), blockSize: le.Uint32(raw[376:]), blocks: le.Uint32(raw[384:]),
		allocated: le.Uint32(raw[388:]),
	}
	copy(h.raw[:], raw)
	copy(h.link[:], raw[atLink:])
	h.hasParent = !allZero(raw[atParentChange:][:16])
	return h
}

func allZero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}

// differencing says that blocks which are not there are another image's.
func (h *header) differencing() bool { return h.link != [16]byte{} }

// validate makes QEMU's checks in QEMU's order, and rounds an odd disk size up (VBoxManage convertfromraw makes them).
func (h *header) validate() error {
	if h.diskSize > maxSize {
		return qerr.New(syscall.ENOTSUP, "Unsupported VDI image size (size is 0x%x, max supported is 0x%x)", h.diskSize, uint64(maxSize))
	}
	h.diskSize = (h.diskSize + sectorSize - 1) / sectorSize * sectorSize
	unsupported := func(format string, a ...any) error {
		return qerr.New(syscall.ENOTSUP, "unsupported VDI image ("+format+")", a...)
	}
	room := uint64(h.blocks) * uint64(h.blockSize)
	switch {
	case h.signatureIs != signature:
		return qerr.New(syscall.EINVAL, "Image not in VDI format (bad signature %08x)", h.signatureIs)
	case h.version != version11:
		return unsupported("version %d.%d", h.version>>16, h.version&0xffff)
	case h.offsetMap%sectorSize != 0:
		return unsupported("unaligned block map offset 0x%x", h.offsetMap)
	case h.offsetData%sectorSize != 0:
		return unsupported("unaligned data offset 0x%x", h.offsetData)
	case h.sectorSize != sectorSize:
		return unsupported("sector size %d is not %d", h.sectorSize, sectorSize)
	case h.blockSize != blockSize:
		return unsupported("block size %d is not %d", h.blockSize, blockSize)
	case h.diskSize > room:
		return unsupported("disk size %d, image bitmap has room for %d", h.diskSize, room)
	case h.differencing():
	case h.hasParent:
		return unsupported("non-NULL parent UUID")
	case uint64(h.blocks) > maxSize/blockSize:
		return unsupported("too many blocks %d, max is %d", h.blocks, uint64(maxSize/blockSize))
	}
	return nil
}

// sector gives the header as it goes to disk, with the present counter.
func (h *header) sector(allocated uint32) []byte {
	out := h.raw
	binary.LittleEndian.PutUint32(out[388:], allocated)
	return out[:]
}

// newHeader lays out a new image as QEMU does: the map right behind the header, the data behind the map.
func newHeader(size int64, static bool) *header {
	h := &header{imageType: typeDynamic, offsetMap: headerSize, diskSize: uint64(size)}
	h.blocks = uint32((size + blockSize - 1) / blockSize)
	if static {
		h.imageType, h.allocated = typeStatic, h.blocks
	}
	mapBytes := (uint32(h.blocks)*4 + sectorSize - 1) / sectorSize * sectorSize
	h.offsetData = h.offsetMap + mapBytes
	le, raw := binary.LittleEndian, h.raw[:]
	copy(raw, preamble)
	for _, f := range []struct{ at, v uint32 }{
		{64, signature}, {68, version11}, {72, 0x180}, {76, h.imageType}, {340, h.offsetMap}, {344, h.offsetData},
		{360, sectorSize}, {376, blockSize}, {384, h.blocks}, {388, h.allocated},
	} {
		le.PutUint32(raw[f.at:], f.v)
	}
	le.PutUint64(raw[368:], uint64(size))
	putUUID(raw[atID:][:16])
	putUUID(raw[atChange:][:16])
	return h
}

// putUUID fills in a random UUID as little-endian GUID fields (version 4).
func putUUID(p []byte) {
	rand.Read(p)
	p[7] = p[7]&0x0f | 0x40
	p[8] = p[8]&0x3f | 0x80
}
