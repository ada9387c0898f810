package vdi

import (
	"context"
	"sync"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

// blockPool holds buffers in which new blocks are put together.
var blockPool = sync.Pool{New: func() any { b := make([]byte, blockSize); return &b }}

// WriteAt overwrites allocated blocks in place and allocates the others.
func (d *image) WriteAt(ctx context.Context, p []byte, off int64, f formats.WriteFlags) error {
	for len(p) > 0 {
		r, err := d.settledRun(ctx, off, int64(len(p)))
		if err != nil {
			return err
		}
		n := r.n
		switch {
		case r.kind == isHere && r.host+n > int64(d.head.offsetData)+int64(d.head.blocks)*blockSize:
			err = qerr.New(syscall.EIO, "'%s': block %d is outside of the image's data", d.name, off/blockSize)
		case r.kind == isHere:
			err = d.file.WriteAt(ctx, p[:n], r.host, 0)
		default:
			n = min(n, blockSize-off%blockSize)
			err = d.allocate(ctx, p[:n], off, r.kind, n == int64(len(p)))
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
func (d *image) settledRun(ctx context.Context, off, n int64) (run, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := uint32(off / blockSize)
	for d.pending[b] {
		d.free.Wait()
	}
	r, err := d.runLocked(ctx, off, n)
	if err == nil && r.kind != isHere {
		d.pending[b] = true
	}
	if err == nil {
		d.stamp()
	}
	return r, err
}

// allocate writes a new block around p, and links it. The block is pending, and was of kind k. last is set if it is the
// last that the write needs.
func (d *image) allocate(ctx context.Context, p []byte, off int64, k kind, last bool) error {
	b := uint32(off / blockSize)
	d.mu.Lock()
	at, err := d.place(ctx)
	if err != nil {
		delete(d.pending, b)
		d.free.Broadcast()
		d.mu.Unlock()
		return err
	}
	d.mu.Unlock()
	if last {
		formats.TurnOf(ctx).Pass()
	}
	err = d.writeBlock(ctx, p, off, k, int64(d.head.offsetData)+int64(at)*blockSize)
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.pending, b)
	delete(d.placing, at)
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

// place finds room for a block: behind the others, or, where a crash or a failed write has wasted so much that the data
// area is full, in a gap. mu is held.
func (d *image) place(ctx context.Context) (uint32, error) {
	at := d.allocated
	if at < d.head.blocks {
		d.allocated++
		d.placing[at] = true
		return at, nil
	}
	used := make([]uint64, (d.head.blocks+63)/64)
	err := d.table.Each(ctx, func(_, e uint32) {
		if e < d.head.blocks {
			used[e/64] |= 1 << (e % 64)
		}
	})
	if err != nil {
		return 0, err
	}
	for at = 0; at < d.head.blocks; at++ {
		if used[at/64]>>(at%64)&1 == 0 && !d.placing[at] {
			d.placing[at] = true
			return at, nil
		}
	}
	return 0, qerr.New(syscall.ENOSPC, "'%s' has no room for another block", d.name)
}

// writeBlock writes a whole block at host that holds p at off, and elsewhere what was there: zeroes or the parent's.
func (d *image) writeBlock(ctx context.Context, p []byte, off int64, k kind, host int64) error {
	if len(p) == blockSize {
		return d.file.WriteAt(ctx, p, host, 0)
	}
	buf := blockPool.Get().(*[]byte)
	defer blockPool.Put(buf)
	inside := off % blockSize
	before, after := (*buf)[:inside], (*buf)[inside+int64(copy((*buf)[inside:], p)):]
	if k != isParent {
		clear(before)
		clear(after)
		return d.file.WriteAt(ctx, *buf, host, 0)
	}
	if err := d.readParent(ctx, before, off-inside); err != nil {
		return err
	}
	if err := d.readParent(ctx, after, off+int64(len(p))); err != nil {
		return err
	}
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
