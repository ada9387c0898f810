package qed

import (
	"context"
	"syscall"

	"platter/formats"
)

// maxDirty bounds the pages of tables that wait for a flush.
const maxDirty = keptPages / 2

// WriteAt overwrites allocated clusters in place and allocates the others.
func (d *image) WriteAt(ctx context.Context, p []byte, off int64, f formats.WriteFlags) error {
	for len(p) > 0 {
		r, err := d.claim(ctx, off, int64(len(p)))
		if err != nil {
			return err
		}
		if r.kind > zeroCluster {
			d.events.Raise(formats.EventWrite)
			err = d.file.WriteAt(ctx, p[:r.n], r.host, 0)
		} else {
			err = d.allocate(ctx, p[:r.n], off, r, r.n == int64(len(p)))
		}
		if err != nil {
			return err
		}
		p, off = p[r.n:], off+r.n
	}
	return d.finish(ctx, f)
}

// finish flushes for a write that asks for it, or when too much waits.
func (d *image) finish(ctx context.Context, f formats.WriteFlags) error {
	d.mu.Lock()
	full := d.tables.dirty > maxDirty || d.events.Heard()
	d.mu.Unlock()
	if full || f&formats.FUA != 0 {
		return d.Flush(ctx)
	}
	return nil
}

// claim is find, after waiting for the allocation of the first cluster if somebody is at it. The clusters of a run
// without data belong to the caller from now on, who ends that with release.
func (d *image) claim(ctx context.Context, off, n int64) (run, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	size := d.cluster()
	first := off / size
	for d.pending[first] {
		d.settled.Wait()
	}
	r, err := d.find(ctx, off, n)
	if err != nil || r.kind > zeroCluster {
		return r, err
	}
	for c := first; c <= (off+r.n-1)/size; c++ {
		if d.pending[c] {
			r.n = c*size - off
			break
		}
		d.pending[c] = true
	}
	return r, nil
}

// release gives claimed clusters back. The caller holds mu.
func (d *image) release(off, n int64) {
	for c := off / d.cluster(); c <= (off+n-1)/d.cluster(); c++ {
		delete(d.pending, c)
	}
	d.settled.Broadcast()
}

// allocate writes new clusters around p, and links them. last is set if they are the last that the write needs.
func (d *image) allocate(ctx context.Context, p []byte, off int64, r run, last bool) error {
	size := d.cluster()
	first, count := off/size, (off%size+r.n+size-1)/size
	d.mu.Lock()
	defer func() {
		d.release(off, r.n)
		d.mu.Unlock()
	}()
	at := d.end
	d.end += count * size
	err := d.prepare(ctx, first)
	if err == nil {
		d.mu.Unlock()
		if last {
			formats.TurnOf(ctx).Pass()
		}
		err = d.fill(ctx, p, off, at, r.kind)
		d.mu.Lock()
	}
	if err == nil {
		err = d.link(context.WithoutCancel(ctx), first, count, uint64(at))
	}
	if err != nil && d.end == at+count*size {
		d.end = at // nothing else was allocated since
	}
	return err
}

// prepare sets the need-check bit and makes the L2 table of cluster c, if they are missing. The caller holds mu.
func (d *image) prepare(ctx context.Context, c int64) error {
	ctx = formats.WithTurn(context.WithoutCancel(ctx), nil)
	if d.head.Features&featNeedCheck == 0 {
		d.head.Features |= featNeedCheck
		if err := d.writeHeader(ctx); err != nil {
			d.head.Features &^= featNeedCheck
			return err
		}
		d.marked = true
	}
	at, err := d.entryAt(ctx, c)
	if err != nil || at != 0 {
		return err
	}
	table, n := d.end, d.head.tableBytes()
	if err := writeZeroes(ctx, d.file, table, n); err != nil {
		return err
	}
	if err := d.tables.set(ctx, int64(d.head.L1Offset)+c/(n/8)*8, uint64(table), true); err != nil {
		return err
	}
	d.end += n
	return nil
}

// link lets count L2 entries from cluster c on name the clusters from value on, or all be value if it is no offset.
// The caller holds mu.
func (d *image) link(ctx context.Context, c, count int64, value uint64) error {
	at, err := d.entryAt(ctx, c)
	if err != nil {
		return err
	}
	for range count {
		if err := d.tables.set(ctx, at, value, false); err != nil {
			return err
		}
		at += 8
		if value > zeroCluster {
			value += uint64(d.cluster())
		}
	}
	return nil
}

// fill writes whole clusters at host that hold p at off of the disk and around it what the disk reads as.
func (d *image) fill(ctx context.Context, p []byte, off, host int64, kind uint64) error {
	ctx = formats.WithTurn(ctx, nil)
	size := d.cluster()
	head := off % size
	end := off + int64(len(p))
	tail := (size - end%size) % size
	if err := d.copyUp(ctx, off-head, head, host, kind); err != nil {
		return err
	}
	d.events.Raise(formats.EventWrite)
	if err := d.file.WriteAt(ctx, p, host+head, 0); err != nil {
		return err
	}
	return d.copyUp(ctx, end, tail, host+head+int64(len(p)), kind)
}

// copyUp writes n bytes at host that are what the disk reads as at off: the backing file's or zeroes. Beyond the end of
// the disk they are zeroes, which a resize brings to light.
func (d *image) copyUp(ctx context.Context, off, n, host int64, kind uint64) error {
	if n == 0 {
		return nil
	}
	buf := make([]byte, n)
	if known := min(n, d.Size()-off); kind == unallocated && known > 0 {
		if err := d.readBacking(ctx, buf[:known], off); err != nil {
			return err
		}
	}
	d.events.Raise(formats.EventCOWWrite)
	return d.file.WriteAt(ctx, buf, host, 0)
}

// WriteZeroes marks whole clusters as zero. Allocated ones keep their place, since it would be lost.
func (d *image) WriteZeroes(ctx context.Context, off, n int64, f formats.WriteFlags) error {
	if f&formats.NoFallback != 0 || (off|n)%d.cluster() != 0 {
		return syscall.ENOTSUP
	}
	for n > 0 {
		r, err := d.claim(ctx, off, n)
		if err != nil {
			return err
		}
		if r.kind > zeroCluster {
			err = d.file.WriteZeroes(ctx, r.host, r.n, f&^formats.FUA)
		} else {
			err = d.markZero(ctx, off, r)
		}
		if err != nil {
			return err
		}
		off, n = off+r.n, n-r.n
	}
	return d.finish(ctx, f)
}

// markZero makes the claimed clusters of a run zero clusters.
func (d *image) markZero(ctx context.Context, off int64, r run) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.release(off, r.n)
	if r.kind == zeroCluster {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	first := off / d.cluster()
	if err := d.prepare(ctx, first); err != nil {
		return err
	}
	return d.link(ctx, first, r.n/d.cluster(), zeroCluster)
}
