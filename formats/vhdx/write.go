package vhdx

import (
	"context"
	"syscall"

	"platter/formats"
)

// dirtyEnough is the number of changed sectors at which a write puts them into the file. What can be changed beside them
// still fits in one log entry.
const dirtyEnough = 48

// WriteAt overwrites what is in the file in place and allocates blocks for the rest.
func (d *image) WriteAt(ctx context.Context, p []byte, off int64, f formats.WriteFlags) error {
	if err := d.begin(ctx); err != nil {
		return err
	}
	for len(p) > 0 {
		n, err := d.writeRun(ctx, p, off)
		if err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return d.after(ctx, f)
}

// after finishes a write.
func (d *image) after(ctx context.Context, f formats.WriteFlags) error {
	d.mu.Lock()
	full := d.meta.changed >= dirtyEnough
	d.mu.Unlock()
	if full || f&formats.FUA != 0 {
		return d.Flush(ctx)
	}
	return nil
}

// writeRun writes the first run of p and says how long it was.
func (d *image) writeRun(ctx context.Context, p []byte, off int64) (int64, error) {
	r, err := d.settled(ctx, off, int64(len(p)))
	if err != nil {
		return 0, err
	}
	switch {
	case r.kind == isHere && r.host < mib:
		return 0, syscall.EFAULT // the file's headers
	case r.kind == isHere:
		return r.n, d.file.WriteAt(ctx, p[:r.n], r.host, 0)
	case r.state == statePartial:
		return r.n, d.fill(ctx, p[:r.n], off, r.host)
	}
	n := min(int64(len(p)), d.head.blockSize-off%d.head.blockSize)
	return n, d.allocate(ctx, p[:n], off, r.state, n == int64(len(p)))
}

// settled is longest, after waiting for the allocation of the first block if somebody is at it; if the block has no place
// in the file, this caller is now the one who allocates it.
func (d *image) settled(ctx context.Context, off, n int64) (run, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	block := off / d.head.blockSize
	for d.pending[block] {
		d.free.Wait()
	}
	r, err := d.longest(ctx, off, n)
	if err != nil {
		return r, err
	}
	if r.kind != isHere {
		r.n = min(r.n, d.head.blockSize-off%d.head.blockSize)
		if r.state != statePartial {
			d.pending[block] = true
		}
	}
	return r, nil
}

// fill writes sectors of a partially present block that were the parent's.
func (d *image) fill(ctx context.Context, p []byte, off, host int64) error {
	if host < mib {
		return syscall.EFAULT
	}
	if err := d.file.WriteAt(ctx, p, host, 0); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mark(context.WithoutCancel(ctx), off, int64(len(p)), true)
}

// mark sets or clears the bits of a range within a block. mu is held.
func (d *image) mark(ctx context.Context, off, n int64, here bool) error {
	at, err := d.bitmap(ctx, off/d.head.blockSize)
	if err != nil {
		return err
	}
	return d.meta.setBits(ctx, at, off/d.head.logical%chunkSectors, n/d.head.logical, here)
}

// allocate gives the block of off a place at the end of the file, writes p there, and links it. The block is pending. last
// is set if it is the last that the write needs.
func (d *image) allocate(ctx context.Context, p []byte, off int64, state uint64, last bool) (err error) {
	bs := d.head.blockSize
	block := off / bs
	ctx = context.WithoutCancel(ctx)
	defer func() {
		d.mu.Lock()
		delete(d.pending, block)
		d.free.Broadcast()
		d.mu.Unlock()
	}()
	whole := off%bs == 0 && (int64(len(p)) == bs || off+int64(len(p)) >= int64(d.head.size))
	partial := d.head.parent != nil && state == stateNotPresent && !whole
	if partial {
		if err := d.needBitmap(ctx, block); err != nil {
			return err
		}
	}
	host, err := d.extend(ctx, bs)
	if err != nil {
		return err
	}
	if last {
		formats.TurnOf(ctx).Pass()
	}
	if err := d.file.WriteAt(ctx, p, host+off%bs, 0); err != nil {
		d.giveBack(ctx, host, bs)
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !partial {
		return d.meta.setWord(ctx, d.payloadAt(block), uint64(host)|statePresent)
	}
	// The bits may be left from a time when the block had another state.
	if err := d.mark(ctx, block*bs, bs, false); err != nil {
		return err
	}
	if err := d.mark(ctx, off, int64(len(p)), true); err != nil {
		return err
	}
	return d.meta.setWord(ctx, d.payloadAt(block), uint64(host)|statePartial)
}

// needBitmap allocates the sector bitmap block of the block's chunk if there is none.
func (d *image) needBitmap(ctx context.Context, block int64) error {
	d.mu.Lock()
	entry, err := d.meta.word(ctx, d.bitmapAt(block))
	d.mu.Unlock()
	if err != nil || entry&stateMask == statePresent {
		return err
	}
	d.grow.Lock()
	defer d.grow.Unlock()
	d.mu.Lock()
	entry, err = d.meta.word(ctx, d.bitmapAt(block))
	d.mu.Unlock()
	if err != nil || entry&stateMask == statePresent {
		return err
	}
	host, err := d.extendLocked(ctx, mib)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.meta.setWord(ctx, d.bitmapAt(block), uint64(host)|statePresent)
}

// extend lengthens the file by n bytes of zeroes and says where they are.
func (d *image) extend(ctx context.Context, n int64) (int64, error) {
	d.grow.Lock()
	defer d.grow.Unlock()
	return d.extendLocked(ctx, n)
}

func (d *image) extendLocked(ctx context.Context, n int64) (int64, error) {
	if end := d.file.Size(); d.log.length == 0 || d.regions.bat > end-d.head.batEntries()*8 {
		return 0, syscall.EINVAL // nothing can be linked without a log and a BAT that are in the file
	}
	at := d.end
	if err := d.file.Truncate(ctx, at+n, formats.PreallocOff); err != nil {
		return 0, err
	}
	d.end = at + n
	return at, nil
}

// giveBack shortens the file again after a failure, unless something else follows; then the space is lost.
func (d *image) giveBack(ctx context.Context, at, n int64) {
	d.grow.Lock()
	defer d.grow.Unlock()
	if d.end == at+n && d.file.Truncate(ctx, at, formats.PreallocOff) == nil {
		d.end = at
	}
}

// WriteZeroes leaves alone what reads as zeroes already; other blocks get zeroes in place.
func (d *image) WriteZeroes(ctx context.Context, off, n int64, f formats.WriteFlags) error {
	if err := d.begin(ctx); err != nil {
		return err
	}
	for n > 0 {
		d.mu.Lock()
		r, err := d.find(ctx, off, n)
		d.mu.Unlock()
		switch {
		case err != nil:
		case r.kind == isHere && r.host < mib:
			err = syscall.EFAULT
		case r.kind == isHere:
			err = d.file.WriteZeroes(ctx, r.host, r.n, f&(formats.MayUnmap|formats.NoFallback))
		case r.kind == isParent:
			r.n = min(r.n, mib)
			r.n, err = d.writeRun(ctx, make([]byte, r.n), off)
		}
		if err != nil {
			return err
		}
		off, n = off+r.n, n-r.n
	}
	return d.after(ctx, f)
}

// Discard makes holes in the file where the image is not meant to keep its space.
func (d *image) Discard(ctx context.Context, off, n int64) error {
	if d.head.flags&flagFixed != 0 {
		return syscall.ENOTSUP
	}
	if err := d.begin(ctx); err != nil {
		return err
	}
	for n > 0 {
		d.mu.Lock()
		r, err := d.find(ctx, off, n)
		d.mu.Unlock()
		if err == nil && r.kind == isHere && r.host >= mib {
			err = d.file.Discard(ctx, r.host, r.n)
		}
		if err != nil {
			return err
		}
		off, n = off+r.n, n-r.n
	}
	return nil
}
