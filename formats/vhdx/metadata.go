package vhdx

import (
	"context"
	"encoding/binary"
	"math"
	"math/bits"
	"syscall"

	"platter/formats"
)

const (
	minBlock = mib
	maxBlock = 256 * mib

	flagFixed  = 1 // leave blocks allocated
	flagParent = 2 // differencing

	itemRequired = 4
	itemVirtual  = 2 // a property of the disk, not of the file

	// chunkSectors is the number of sectors that one sector bitmap block stands for.
	chunkSectors = 1 << 23
)

// metadata is what the metadata items say (section 2.6.2). Sizes are in bytes.
type metadata struct {
	blockSize int64
	flags     uint32
	size      uint64 // of the disk
	logical   int64  // sector
	physical  int64  // sector, of which nothing here depends
	ratio     int64  // payload blocks in a chunk
	parent    *locator
}

// item is the place of a metadata item in the file.
type item struct {
	off    int64
	length int64
}

// loadMetadata reads table and items, with QEMU's checks in QEMU's order.
func loadMetadata(ctx context.Context, f formats.File, r regions) (*metadata, error) {
	items, err := loadItems(ctx, f, r)
	if err != nil {
		return nil, err
	}
	_, located := items[guidParent]
	want := 5
	if located {
		want++
	}
	if len(items) != want {
		return nil, syscall.ENOTSUP
	}
	var readErr error
	field := func(g guid, n int) uint64 {
		raw := make([]byte, 8)
		if err := f.ReadAt(ctx, raw[:n], items[g].off); err != nil && readErr == nil {
			readErr = err
		}
		return binary.LittleEndian.Uint64(raw)
	}
	params := field(guidParameters, 8)
	m := &metadata{blockSize: int64(uint32(params)), flags: uint32(params >> 32)}
	m.size, m.logical, m.physical = field(guidSize, 8), int64(field(guidLogical, 4)), int64(field(guidPhysical, 4))
	if readErr != nil {
		return nil, readErr
	}
	switch differencing := m.flags&flagParent != 0; {
	case differencing && !located:
		return nil, syscall.EINVAL
	case !differencing && located:
		return nil, syscall.ENOTSUP
	case differencing:
		if m.parent, err = loadLocator(ctx, f, items[guidParent]); err != nil {
			return nil, err
		}
	}
	return m, m.validate()
}

func (m *metadata) validate() error {
	switch {
	case m.size > 1<<62:
		return syscall.EINVAL
	case m.blockSize < minBlock || m.blockSize > maxBlock:
		return syscall.EINVAL
	case m.logical != 512 && m.logical != 4096:
		return syscall.ENOTSUP
	case bits.OnesCount64(uint64(m.blockSize)) != 1:
		return syscall.EINVAL
	}
	m.ratio = chunkSectors * m.logical / m.blockSize
	return nil
}

// loadItems finds the known items; each may be there once.
func loadItems(ctx context.Context, f formats.File, r regions) (map[guid]item, error) {
	raw := make([]byte, tableSize)
	if err := f.ReadAt(ctx, raw, r.meta); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	count := int(le.Uint16(raw[10:]))
	if string(raw[:8]) != "metadata" || count > maxEntries {
		return nil, syscall.EINVAL
	}
	items := map[guid]item{}
	for e := raw[32 : 32+count*32]; len(e) > 0; e = e[32:] {
		g := guid(e[:16])
		switch g {
		case guidParameters, guidSize, guidDiskID, guidLogical, guidPhysical, guidParent:
			if _, twice := items[g]; twice {
				return nil, syscall.EINVAL
			}
			items[g] = item{r.meta + int64(le.Uint32(e[16:])), int64(le.Uint32(e[20:]))}
		default:
			if le.Uint32(e[24:])&itemRequired != 0 {
				return nil, syscall.ENOTSUP
			}
		}
	}
	return items, nil
}

// blocks is the number of payload blocks.
func (m *metadata) blocks() int64 {
	return int64((m.size + uint64(m.blockSize) - 1) / uint64(m.blockSize))
}

// batEntries is the number of BAT entries that are in use; in a differencing image the last chunk's bitmap entry counts.
func (m *metadata) batEntries() int64 {
	n := m.blocks()
	if n == 0 { // QEMU's arithmetic: the BAT of a disk of no size is the largest
		return math.MaxUint32 / m.ratio
	}
	if m.parent != nil {
		return (n + m.ratio - 1) / m.ratio * (m.ratio + 1)
	}
	return n + (n-1)/m.ratio
}
