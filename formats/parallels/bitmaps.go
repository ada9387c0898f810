package parallels

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/bits"
	"syscall"

	"platter/formats"
	"platter/formats/bitmap"
	"platter/formats/qerr"
)

const (
	bitmapHead = 32 // disk size and granularity in sectors, UUID, entries of the table, which follows
	allSet     = 1  // entry of a table: every bit of the part is set; 0: none is; else the part's place in sectors

	// maxBits bounds the bits of a bitmap in memory, in bytes, as for qcow2's.
	maxBits = 512 << 20
)

// storedBitmap is a dirty bitmap of the format extension.
type storedBitmap struct {
	name        string // its UUID
	granularity int64  // bytes a bit
	table       int64  // offset in the file
	entries     int64  // of the table; each stands for as many bits as a cluster has
	count       int64  // dirty bytes; -1: not counted yet
}

// readBitmapFeature reads what the n bytes of a feature at off say of a bitmap, and verifies it in QEMU's order.
func (d *image) readBitmapFeature(ctx context.Context, off, n int64) error {
	if n < bitmapHead {
		return qerr.New(syscall.EINVAL, "Too small Bitmap Feature area in Parallels Format Extension: %d bytes, "+
			"expected at least %d bytes", n, bitmapHead)
	}
	p, le := make([]byte, bitmapHead), binary.LittleEndian
	if err := d.file.ReadAt(ctx, p, off); err != nil {
		return qerr.Errno(qerr.Of(err), "Failed to read Format Extension cluster")
	}
	sectors, granularity, entries := le.Uint64(p), int64(le.Uint32(p[24:])), int64(le.Uint32(p[28:]))
	switch {
	case sectors != d.head.sectors:
		return qerr.New(syscall.EINVAL, "Bitmap size (in sectors) %d differs from disk size in sectors %d",
			int64(sectors), d.head.sectors)
	case entries*8 > n-bitmapHead:
		return qerr.New(syscall.EINVAL, "Bitmaps feature corrupted: l1 table exceeds extension data_size")
	case bits.OnesCount64(uint64(granularity)) != 1 || granularity > 1<<31/sectorSize:
		return qerr.New(syscall.EINVAL, "Bitmap granularity of %d sectors is not a power of two up to 2 GiB", granularity)
	}
	b := &storedBitmap{name: uuidText(p[8:24]), granularity: granularity * sectorSize, table: off + bitmapHead,
		entries: entries, count: -1}
	for _, other := range d.bitmaps {
		if other.name == b.name {
			return qerr.New(syscall.EINVAL, "Bitmap already exists: %s", b.name)
		}
	}
	bytes := d.bitmapBytes(b)
	if bytes > maxBits {
		return qerr.New(syscall.EFBIG, "Bitmap '%s' has %d bytes, more than the %d that are supported", b.name, bytes, maxBits)
	}
	if want := (bytes + d.cluster - 1) / d.cluster; want != entries {
		return qerr.New(syscall.EINVAL, "Bitmap table size %d does not correspond to bitmap size and cluster size. Expected %d",
			entries, want)
	}
	d.bitmaps = append(d.bitmaps, b)
	return nil
}

// bitmapBytes is the length of the bits, whole 64-bit words as QEMU keeps them.
func (d *image) bitmapBytes(b *storedBitmap) int64 {
	granules := (d.Size()-1)/b.granularity + 1
	return (granules + 63) / 64 * 8
}

func uuidText(p []byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", p[:4], p[4:6], p[6:8], p[8:10], p[10:16])
}

// loadBits reads the bits of b.
func (d *image) loadBits(ctx context.Context, b *storedBitmap) (*bitmap.Bitmap, error) {
	m := bitmap.New(d.Size(), b.granularity)
	words, perEntry := m.Words(), int(d.cluster/8)
	entry, raw := make([]byte, 8), make([]byte, min(copyPiece, d.cluster, int64(len(words))*8))
	for k := int64(0); k < b.entries; k++ {
		if err := d.file.ReadAt(ctx, entry, b.table+8*k); err != nil {
			return nil, qerr.Errno(qerr.Of(err), "Failed to read Format Extension cluster")
		}
		part := words[int(k)*perEntry : min((int(k)+1)*perEntry, len(words))]
		if err := d.loadPart(ctx, part, binary.LittleEndian.Uint64(entry), raw); err != nil {
			return nil, err
		}
	}
	m.Resize(d.Size()) // no bits behind the end
	return m, nil
}

// loadPart fills the words that one entry of a table stands for. raw is a buffer.
func (d *image) loadPart(ctx context.Context, part []uint64, entry uint64, raw []byte) error {
	switch {
	case entry == allSet:
		for w := range part {
			part[w] = 1<<64 - 1
		}
		return nil
	case entry == 0:
		return nil
	case entry >= uint64(d.fileLen()/sectorSize):
		return qerr.New(syscall.EINVAL, "Bitmap data at sector %d is outside image", entry)
	}
	for off := int64(entry) * sectorSize; len(part) > 0; {
		p := raw[:min(len(raw), len(part)*8)]
		if err := d.file.ReadAt(ctx, p, off); err != nil {
			return qerr.Errno(qerr.Of(err), "Failed to read bitmap data cluster")
		}
		for w := range len(p) / 8 {
			part[w] = binary.LittleEndian.Uint64(p[w*8:])
		}
		part, off = part[len(p)/8:], off+int64(len(p))
	}
	return nil
}

// Bitmaps lists the bitmaps of the format extension. Those of an image that was not closed cleanly may lack writes.
func (d *image) Bitmaps(ctx context.Context) ([]formats.BitmapInfo, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []formats.BitmapInfo
	for _, b := range d.bitmaps {
		if b.count < 0 {
			m, err := d.loadBits(ctx, b)
			if err != nil {
				return nil, err
			}
			b.count = m.Count()
		}
		list = append(list, formats.BitmapInfo{Name: b.name, Granularity: b.granularity, Count: b.count,
			InUse: d.unclean, Inconsistent: d.unclean, Transient: true})
	}
	return list, nil
}

// Bitmap gives the bits of one.
func (d *image) Bitmap(ctx context.Context, name string) (*bitmap.Bitmap, error) {
	for _, b := range d.bitmaps {
		if b.name == name {
			return d.loadBits(ctx, b)
		}
	}
	return nil, qerr.New(syscall.ENOENT, "Dirty bitmap '%s' not found", name)
}
