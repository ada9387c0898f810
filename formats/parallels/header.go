package parallels

import (
	"encoding/binary"
	"math"
	"syscall"

	"platter/formats/qerr"
)

const (
	magicOld = "WithoutFreeSpace" // entries of the BAT count sectors
	magicExt = "WithouFreSpacExt" // entries of the BAT count clusters

	version    = 2
	headerSize = 64
	sectorSize = 512

	atTracks  = 28
	atInUse   = 44
	atDataOff = 48

	inUse = 0x746F6E59

	// maxTracks and maxEntries are QEMU's bounds.
	maxTracks  = math.MaxInt32 / 513
	maxEntries = math.MaxInt32 / 4
)

// header holds the fields that matter. Offsets and lengths called sectors are in units of 512 bytes.
type header struct {
	old     bool // magicOld
	tracks  uint32
	entries uint32
	sectors uint64 // of the disk
	inUse   bool
	dataOff uint32 // sectors
	extOff  uint64 // sectors; 0: no format extension
}

// known reports whether p begins with a header of either kind.
func known(p []byte) bool {
	if len(p) < headerSize {
		return false
	}
	magic := string(p[:16])
	return (magic == magicOld || magic == magicExt) && binary.LittleEndian.Uint32(p[16:]) == version
}

// parse reads the header and makes QEMU's checks in QEMU's order.
func parse(p []byte) (*header, error) {
	if !known(p) {
		return nil, qerr.New(syscall.EINVAL, "Image not in Parallels format")
	}
	le := binary.LittleEndian
	h := &header{old: string(p[:16]) == magicOld, tracks: le.Uint32(p[atTracks:]), entries: le.Uint32(p[32:]),
		sectors: le.Uint64(p[36:]), inUse: le.Uint32(p[atInUse:]) == inUse, dataOff: le.Uint32(p[atDataOff:]),
		extOff: le.Uint64(p[56:])}
	if h.old {
		h.sectors &= math.MaxUint32
	}
	switch {
	case h.tracks == 0:
		return nil, qerr.New(syscall.EINVAL, "Invalid image: Zero sectors per track")
	case h.tracks > maxTracks:
		return nil, qerr.New(syscall.EFBIG, "Invalid image: Too big cluster")
	case h.entries > maxEntries:
		return nil, qerr.New(syscall.EFBIG, "Catalog too large")
	case h.extOff >= math.MaxInt64/sectorSize:
		return nil, qerr.New(syscall.EFBIG, "Invalid image: Too big offset")
	case h.sectors > math.MaxInt64/sectorSize:
		return nil, qerr.New(syscall.EFBIG, "Invalid image: Too many sectors: %d", h.sectors)
	}
	return h, nil
}

// dataStart gives the start of the data area in sectors, for a file of so many sectors; ok is false if the header says
// something else that cannot be.
func (h *header) dataStart(fileSectors int64) (start uint32, ok bool) {
	least := (headerSize + 4*h.entries + sectorSize - 1) / sectorSize
	if !h.old {
		least = (least + h.tracks - 1) / h.tracks * h.tracks
	}
	switch {
	case h.dataOff == 0 && h.old:
		return least, true
	case h.dataOff < least || int64(h.dataOff) > fileSectors:
		return least, false
	}
	return h.dataOff, true
}
