package vpc

import (
	"bytes"
	"context"

	"platter/formats"
)

const (
	// maxBitmaps bounds the bitmaps that are kept although they need not be written.
	maxBitmaps = 4096
	// byteSectors is the bytes of the disk that one byte of a bitmap stands for.
	byteSectors = 8 * sectorSize
)

// bits is the sector bitmap of a block in memory.
type bits struct {
	raw   []byte
	dirty bool
}

// bitmaps are the sector bitmaps of a differencing image, by the place of their blocks in the file. Its owner serialises
// all calls.
type bitmaps struct {
	file    formats.File
	size    int64 // of a bitmap in bytes
	all     map[int64]*bits
	changed int
}

func (m *bitmaps) at(ctx context.Context, at int64) (*bits, error) {
	if b := m.all[at]; b != nil {
		return b, nil
	}
	if len(m.all)-m.changed >= maxBitmaps {
		for k, b := range m.all {
			if !b.dirty {
				delete(m.all, k)
			}
		}
	}
	b := &bits{raw: make([]byte, m.size)}
	if err := m.file.ReadAt(ctx, b.raw, at); err != nil {
		return nil, err
	}
	m.all[at] = b
	return b, nil
}

// set marks sectors of the block at at as the image's own.
func (m *bitmaps) set(ctx context.Context, at, first, count int64) error {
	b, err := m.at(ctx, at)
	if err != nil {
		return err
	}
	part := b.raw[first/8 : (first+count+7)/8]
	was := bytes.Clone(part)
	setBits(b.raw, first, count)
	if !b.dirty && !bytes.Equal(was, part) {
		b.dirty = true
		m.changed++
	}
	return nil
}

// write puts what was changed into the file. It does not flush.
func (m *bitmaps) write(ctx context.Context) error {
	for at, b := range m.all {
		if !b.dirty {
			continue
		}
		if err := m.file.WriteAt(ctx, b.raw, at, 0); err != nil {
			return err
		}
		b.dirty = false
		m.changed--
	}
	return nil
}

// setBits sets count bits from bit first on, the highest of a byte being its first.
func setBits(raw []byte, first, count int64) {
	for s := first; s < first+count; s++ {
		raw[s/8] |= 0x80 >> (s % 8)
	}
}

// findSectors looks into the bitmap of the block at at. mu is held.
func (d *image) findSectors(ctx context.Context, at, inside, n int64) (run, error) {
	b, err := d.present.at(ctx, at)
	if err != nil {
		return run{}, err
	}
	first, count := inside/sectorSize, (inside%sectorSize+n+sectorSize-1)/sectorSize
	bit := func(i int64) bool { return b.raw[(first+i)/8]>>(7-(first+i)%8)&1 == 1 }
	r := run{stored: bit(0), host: at + d.bitmap + inside}
	k := int64(1)
	for k < count && bit(k) == r.stored {
		k++
	}
	r.n = min(k*sectorSize-inside%sectorSize, n)
	return r, nil
}

// writeSectors writes p, which lies in one block of a differencing image, and what follows up to the end of what the last
// byte of the bitmap stands for.
func (d *image) writeSectors(ctx context.Context, p []byte, off int64, last bool) error {
	end := off + int64(len(p))
	block := (off/d.block + 1) * d.block
	whole := min((end+byteSectors-1)/byteSectors*byteSectors, block, d.size)
	if off%byteSectors == 0 && end == whole {
		d.shared.RLock()
		defer d.shared.RUnlock()
		return d.writeBlock(ctx, p, off, last)
	}
	d.shared.Lock()
	defer d.shared.Unlock()
	if end < whole {
		p = append(make([]byte, 0, whole-off), p...)[:whole-off]
		if err := d.ReadAt(ctx, p[end-off:], end); err != nil {
			return err
		}
	}
	return d.writeBlock(ctx, p, off, last)
}
