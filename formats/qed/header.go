package qed

import (
	"context"
	"encoding/binary"
	"math"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

const (
	magic      = 0x00444551 // "QED\0"
	headerSize = 64
	sectorSize = 512

	featBacking   = 1 << 0
	featNeedCheck = 1 << 1
	featNoProbe   = 1 << 2 // the backing file is raw
	featKnown     = featBacking | featNeedCheck | featNoProbe

	minCluster = 1 << 12
	maxCluster = 1 << 26
	maxTable   = 16

	maxBackingName = 4095
)

// header is the header's fields in the order of the file.
type header struct {
	Magic         uint32
	ClusterSize   uint32
	TableSize     uint32 // clusters
	HeaderSize    uint32 // clusters
	Features      uint64
	Compat        uint64
	Autoclear     uint64
	L1Offset      uint64
	ImageSize     uint64
	BackingOffset uint32
	BackingSize   uint32
}

func parse(raw []byte) (h header) {
	// The length is right, so that Decode cannot fail.
	_, _ = binary.Decode(raw, binary.LittleEndian, &h)
	return h
}

func (h *header) bytes() []byte {
	out := make([]byte, 0, headerSize)
	out, _ = binary.Append(out, binary.LittleEndian, h)
	return out
}

// tableBytes is the size of a table. It is at most 16 MiB where the largest disk is not 0.
func (h *header) tableBytes() int64 { return int64(h.TableSize) * int64(h.ClusterSize) }

// tableSpan is the size of the part of the disk that an L2 table maps.
func (h *header) tableSpan() int64 { return h.tableBytes() / 8 * int64(h.ClusterSize) }

// maxSize is the largest disk. It wraps around as QEMU's does: the largest tables allow no disk at all.
func (h *header) maxSize() uint64 { return uint64(h.tableSpan()) * uint64(h.tableBytes()/8) }

func validCluster(n uint64) bool {
	return n >= minCluster && n <= maxCluster && n&(n-1) == 0
}

func validTable(n uint64) bool {
	return n >= 1 && n <= maxTable && n&(n-1) == 0
}

func (h *header) validSize(n uint64) bool {
	return n%sectorSize == 0 && n <= h.maxSize() && n <= math.MaxInt64
}

// validate makes QEMU's checks in QEMU's order; the file has fileLen bytes.
func (h *header) validate(fileLen int64) error {
	switch {
	case h.Magic != magic:
		return qerr.New(syscall.EINVAL, "Image not in QED format")
	case h.Features&^featKnown != 0:
		return qerr.New(syscall.ENOTSUP, "Unsupported QED features: %x", h.Features&^featKnown)
	case !validCluster(uint64(h.ClusterSize)):
		return qerr.New(syscall.EINVAL, "QED cluster size is invalid")
	case !validTable(uint64(h.TableSize)):
		return qerr.New(syscall.EINVAL, "QED table size is invalid")
	case !h.validSize(h.ImageSize):
		return qerr.New(syscall.EINVAL, "QED image size is invalid")
	case !h.tableFits(h.L1Offset, fileLen/int64(h.ClusterSize)*int64(h.ClusterSize)):
		return qerr.New(syscall.EINVAL, "QED table offset is invalid")
	case h.Features&featBacking != 0 &&
		uint64(h.BackingOffset)+uint64(h.BackingSize) > uint64(h.ClusterSize)*uint64(h.HeaderSize):
		return qerr.New(syscall.EINVAL, "QED backing filename offset is invalid")
	}
	return nil
}

// clusterFits reports whether a cluster may lie at off in a file that ends at end.
func (h *header) clusterFits(off uint64, end int64) bool {
	return off&uint64(h.ClusterSize-1) == 0 && off >= uint64(h.HeaderSize)*uint64(h.ClusterSize) && off < uint64(end)
}

// tableFits reports whether a table may lie at off. A table of a single cluster never does, as in QEMU.
func (h *header) tableFits(off uint64, end int64) bool {
	last := off + uint64(h.TableSize-1)*uint64(h.ClusterSize)
	return last > off && h.clusterFits(off, end) && h.clusterFits(last, end)
}

// readBackingName reads the name of the backing file, which validate has found to lie in the header's clusters.
func (h *header) readBackingName(ctx context.Context, f formats.File) (string, error) {
	if h.Features&featBacking == 0 {
		return "", nil
	}
	if h.BackingSize > maxBackingName {
		return "", qerr.New(syscall.EINVAL, "Failed to read backing filename")
	}
	if int64(h.BackingOffset)+int64(h.BackingSize) > f.Size() {
		return "", qerr.New(syscall.EINVAL, "Failed to read backing filename")
	}
	name := make([]byte, h.BackingSize)
	if len(name) == 0 {
		return "", nil
	}
	if err := f.ReadAt(ctx, name, int64(h.BackingOffset)); err != nil {
		return "", qerr.New(qerr.Of(err), "Failed to read backing filename")
	}
	for i, b := range name {
		if b == 0 {
			name = name[:i]
			break
		}
	}
	return string(name), nil
}
