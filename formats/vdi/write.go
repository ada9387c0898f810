package vdi

import (
	"context"
	"sync"

	"platter/formats"
)

// blockPool holds buffers in which new blocks are put together.
var blockPool = sync.Pool{New: func() any { b := make([]byte, blockSize); return &b }}

// WriteAt overwrites allocated blocks in place and allocates the others.
func (d *image) WriteAt(ctx context.Context, p []byte, off int64, f formats.WriteFlags) error {
	for len(p) > 0 {
		host, n, ok, err := d.settledRun(ctx, off, int64(len(p)))
		if err != nil {
			return err
		}
		if ok {
			err = d.file.WriteAt(ctx, p[:n], host, 0)
		} else {
			n = min(n, blockSize-off%blockSize)
			err = d.allocate(ctx, p[:n], off, n == int64(len(p)))
		}
		if err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	if f&formats.FUA != 0 {
		return d.Flush(ctx)
	}
	return nil
}

// settledRun is run, after waiting for the allocation of the first block if somebody is at it; if it has none, this
// caller is now the one who allocates it.
func (d *image) settledRun(ctx context.Context, off, n int64) (host, length int64, ok bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := uint32(off / blockSize)
	for d.pending[b] {
		d.free.Wait()
	}
	host, length, ok, err = d.runLocked(ctx, off, n)
	if err == nil && !ok {
		d.pending[b] = true
	}
	return host, length, ok, err
}

// allocate writes a new block around p, and links it. The block is pending. last is set if it is the last that the
// write needs.
func (d *image) allocate(ctx context.Context, p []byte, off int64, last bool) error {
	b := uint32(off / blockSize)
	d.mu.Lock()
	at := d.allocated
	d.allocated++
	d.mu.Unlock()
	if last {
		formats.TurnOf(ctx).Pass()
	}
	err := d.writeBlock(ctx, p, off%blockSize, int64(d.head.offsetData)+int64(at)*blockSize)
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.pending, b)
	d.free.Broadcast()
	if err != nil {
		// The block is lost unless it was the last: another allocation may have followed it.
		if d.allocated == at+1 {
			d.allocated--
		}
		return err
	}
	d.headDirty = true
	return d.table.Set(context.WithoutCancel(ctx), b, at)
}

// writeBlock writes a whole block at host that holds p at inside and zeroes elsewhere.
func (d *image) writeBlock(ctx context.Context, p []byte, inside, host int64) error {
	if len(p) == blockSize {
		return d.file.WriteAt(ctx, p, host, 0)
	}
	buf := blockPool.Get().(*[]byte)
	defer blockPool.Put(buf)
	clear((*buf)[:inside])
	end := copy((*buf)[inside:], p)
	clear((*buf)[inside+int64(end):])
	return d.file.WriteAt(ctx, *buf, host, 0)
}

// Flush makes data, then the counter, then the map durable.
func (d *image) Flush(ctx context.Context) error { return d.flush(context.WithoutCancel(ctx)) }

func (d *image) flush(ctx context.Context) error {
	if err := d.file.Flush(ctx); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.headDirty && !d.table.Dirty() {
		return nil
	}
	if d.headDirty {
		if err := d.file.WriteAt(ctx, d.head.sector(d.allocated), 0, 0); err != nil {
			return err
		}
		// Blocks that were linked since the flush above are not durable yet, and the counter must be before the map.
		if err := d.file.Flush(ctx); err != nil {
			return err
		}
		d.headDirty = false
	}
	if err := d.table.Write(ctx); err != nil {
		return err
	}
	return d.file.Flush(ctx)
}
