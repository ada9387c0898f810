package vmdk

import (
	"context"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

// zeroEntry in a table is a grain of zeroes.
const zeroEntry = 1

var errNoZeroes = qerr.New(syscall.ENOTSUP, "Operation not supported")

// WriteZeroes marks whole grains where the disk was made with zeroed_grain, all of them or none.
func (d *image) WriteZeroes(ctx context.Context, off, n int64, f formats.WriteFlags) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := d.canZero(ctx, off, n); err != nil {
		return err
	}
	if err := d.renewID(ctx); err != nil {
		return err
	}
	for n > 0 {
		e := d.at(off)
		k := min(n, e.end()-off)
		if err := d.zeroExtent(context.WithoutCancel(ctx), e, off-e.start, k); err != nil {
			return err
		}
		off, n = off+k, n-k
	}
	if f&formats.FUA != 0 {
		return d.Flush(ctx)
	}
	return d.relieve(ctx)
}

// canZero reports by ENOTSUP that zeroes must be written, and refuses those over compressed grains.
func (d *image) canZero(ctx context.Context, off, n int64) error {
	for n > 0 {
		e := d.at(off)
		k := min(n, e.end()-off)
		in := off - e.start
		if !e.zeroed || in%e.grain != 0 || k%e.grain != 0 {
			return errNoZeroes
		}
		for g := in / e.grain; e.compressed && g < (in+k)/e.grain; g++ {
			d.mu.Lock()
			v, err := d.lookup(ctx, e, g)
			d.mu.Unlock()
			if err != nil {
				return err
			}
			if v.kind == stored {
				return d.refuse()
			}
		}
		off, n = off+k, n-k
	}
	return nil
}

// zeroExtent marks whole grains, those of one table at a time.
func (d *image) zeroExtent(ctx context.Context, e *extent, off, n int64) error {
	for g, end := off/e.grain, (off+n)/e.grain; g < end; {
		stop := min(end, g-g%e.tableLen+e.tableLen)
		if err := d.zeroTable(ctx, e, g, stop); err != nil {
			return err
		}
		g = stop
	}
	return nil
}

func (d *image) zeroTable(ctx context.Context, e *extent, g, end int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for ; g < end; g++ {
		for d.pending[place{e.index, g}] {
			d.free.Wait()
		}
		t, err := d.ownTable(ctx, e, g)
		if err != nil {
			return err
		}
		if v, _ := e.decode(t.entry(e, g%e.tableLen)); v.kind != zeroes {
			d.set(e, t, g%e.tableLen, zeroEntry)
		}
	}
	return nil
}
