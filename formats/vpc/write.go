package vpc

import (
	"bytes"
	"context"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

// WriteAt overwrites blocks in place and allocates those that are not there.
func (d *image) WriteAt(ctx context.Context, p []byte, off int64, f formats.WriteFlags) error {
	if d.kind == typeFixed {
		return d.file.WriteAt(ctx, p, off, f)
	}
	for len(p) > 0 {
		n := min(int64(len(p)), d.block-off%d.block)
		write := d.writeBlock
		if d.kind == typeDifferencing {
			write = d.writeSectors
		}
		if err := write(ctx, p[:n], off, n == int64(len(p))); err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	if f&formats.FUA != 0 {
		return d.Flush(ctx)
	}
	return nil
}

// writeBlock writes p, which lies in one block. last is set if the write needs no other.
func (d *image) writeBlock(ctx context.Context, p []byte, off int64, last bool) error {
	b := uint32(off / d.block)
	at, err := d.claim(ctx, b)
	if err != nil {
		return err
	}
	if at >= 0 {
		if err := d.file.WriteAt(ctx, p, at+d.bitmap+off%d.block, 0); err != nil || d.kind != typeDifferencing {
			return err
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.present.set(context.WithoutCancel(ctx), at, off%d.block/sectorSize, int64(len(p))/sectorSize)
	}
	return d.allocate(ctx, b, p, off%d.block, last)
}

// claim finds the block's place, after waiting for whoever allocates it; -1 makes the caller the one who does.
func (d *image) claim(ctx context.Context, b uint32) (at int64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.pending[b] {
		d.freed.Wait()
	}
	e, err := d.table.Get(ctx, b)
	if err != nil {
		return 0, err
	}
	if e != unallocated {
		return int64(e) * sectorSize, nil
	}
	d.pending[b] = true
	return -1, nil
}

// allocate writes a new block that holds p at inside, and links it. The block is pending.
func (d *image) allocate(ctx context.Context, b uint32, p []byte, inside int64, last bool) error {
	d.mu.Lock()
	at := d.end
	d.end += d.bitmap + d.block
	virgin := d.virgin
	d.virgin = max(d.virgin, d.end)
	// The footer moves with the flush. It gets its space now, while nothing else can be put there, so that a full disk fails
	// this request, and not the flush, by which time the data was acknowledged.
	err := d.file.WriteZeroes(ctx, d.end, footerSize, 0)
	d.mu.Unlock()
	if last {
		formats.TurnOf(ctx).Pass()
	}
	switch {
	case err != nil:
	case at/sectorSize >= unallocated:
		err = qerr.New(syscall.EFBIG, "the image file would be too large")
	default:
		err = d.fill(ctx, at, p, inside, virgin)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.pending, b)
	d.freed.Broadcast()
	if err != nil {
		if d.end == at+d.bitmap+d.block {
			d.end = at
		}
		d.footAt, d.changed = 0, true // the footer may be overwritten
		return err
	}
	d.changed = true
	return d.table.Set(context.WithoutCancel(ctx), b, uint32(at/sectorSize))
}

// fill writes bitmap and data of a new block at at. Where the file was written before, zeroes are written, too.
func (d *image) fill(ctx context.Context, at int64, p []byte, inside, virgin int64) error {
	if old := min(virgin, at+d.bitmap+d.block); old > at && int64(len(p)) < d.block {
		if err := d.file.WriteZeroes(ctx, at, old-at, 0); err != nil {
			return err
		}
	}
	bits := bytes.Repeat([]byte{0xff}, int(d.bitmap))
	if d.kind == typeDifferencing {
		clear(bits)
		setBits(bits, inside/sectorSize, int64(len(p))/sectorSize)
	}
	if err := d.file.WriteAt(ctx, bits, at, 0); err != nil {
		return err
	}
	return d.file.WriteAt(ctx, p, at+d.bitmap+inside, 0)
}

// WriteZeroes leaves blocks alone that are not there and read as zeroes anyway.
func (d *image) WriteZeroes(ctx context.Context, off, n int64, f formats.WriteFlags) error {
	if d.kind == typeFixed {
		return d.file.WriteZeroes(ctx, off, n, f|formats.NoFallback)
	}
	if d.backing != nil || d.kind == typeDifferencing {
		return syscall.ENOTSUP
	}
	for end := off + n; off < end; {
		k := min(end-off, d.block-off%d.block)
		d.mu.Lock()
		b := uint32(off / d.block)
		for d.pending[b] {
			d.freed.Wait()
		}
		e, err := d.table.Get(ctx, b)
		d.mu.Unlock()
		if err != nil {
			return err
		}
		if e != unallocated {
			if err := d.file.WriteZeroes(ctx, int64(e)*sectorSize+d.bitmap+off%d.block, k, f&^formats.NoFallback); err != nil {
				return err
			}
		}
		off += k
	}
	return nil
}

// Flush makes data and footer, then the table durable.
func (d *image) Flush(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	if d.kind == typeFixed {
		return d.file.Flush(ctx)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.changed && !d.table.Dirty() && d.present.changed == 0 {
		return d.file.Flush(ctx)
	}
	if d.present.changed > 0 { // the data that the bits stand for comes first
		if err := d.file.Flush(ctx); err != nil {
			return err
		}
		if err := d.present.write(ctx); err != nil {
			return err
		}
	}
	if d.footAt != d.end {
		if err := d.file.WriteAt(ctx, d.foot[:], d.end, 0); err != nil {
			return err
		}
		d.footAt, d.virgin = d.end, max(d.virgin, d.end+footerSize)
	}
	if err := d.file.Flush(ctx); err != nil {
		return err
	}
	if err := d.table.Write(ctx); err != nil {
		return err
	}
	if err := d.file.Flush(ctx); err != nil {
		return err
	}
	d.changed = false
	return nil
}

// Close writes what is not yet in the file.
func (d *image) Close() error { return d.Flush(context.Background()) }
