package blkdebug

import (
	"context"
	"sync"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// image passes on what the rules let through.
type image struct {
	formats.File
	align, maxTransfer, zeroAlign, maxZero, discardAlign, maxDiscard int64

	mu    sync.Mutex // guards rules and state
	rules *ruleSet
	state int
}

// Limits are the child's, with what the options lay down.
func (d *image) Limits() formats.Limits {
	l := d.File.Limits()
	l.Align, l.ZeroAlign, l.DiscardAlign = max(d.align, 1), d.zeroAlign, d.discardAlign
	if d.maxTransfer > 0 {
		l.MaxTransfer = d.maxTransfer
	}
	return l
}

// Info is the child's; nothing else of it shows through a filter.
func (d *image) Info(ctx context.Context) (formats.Info, error) {
	below, ok := formats.As[formats.Describer](d.File)
	if !ok {
		return formats.Info{}, qerr.New(syscall.ENOTSUP, "the image below tells nothing")
	}
	return below.Info(ctx)
}

// Specific is nothing.
func (d *image) Specific(context.Context) (string, *qobj.Dict, error) { return "", nil, nil }

// AllocatedSize is not told, as QEMU's driver does not.
func (d *image) AllocatedSize(context.Context) (int64, error) {
	return 0, qerr.New(syscall.ENOTSUP, "allocated size is not known")
}

func (d *image) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := d.check(reading, off, int64(len(p))); err != nil {
		return err
	}
	return d.File.ReadAt(ctx, p, off)
}

func (d *image) WriteAt(ctx context.Context, p []byte, off int64, f formats.WriteFlags) error {
	if err := d.check(writing, off, int64(len(p))); err != nil {
		return err
	}
	return d.File.WriteAt(ctx, p, off, f)
}

// WriteZeroes leaves what is less than a unit to be written, and splits what is longer than it may be.
func (d *image) WriteZeroes(ctx context.Context, off, n int64, f formats.WriteFlags) error {
	if n < max(d.align, d.zeroAlign) {
		return syscall.ENOTSUP
	}
	return split(off, n, d.maxZero, func(off, n int64) error {
		if err := d.check(zeroing, off, n); err != nil {
			return err
		}
		return d.File.WriteZeroes(ctx, off, n, f|formats.NoFallback)
	})
}

func (d *image) Discard(ctx context.Context, off, n int64) error {
	if n < max(d.align, d.discardAlign) {
		return syscall.ENOTSUP
	}
	return split(off, n, d.maxDiscard, func(off, n int64) error {
		if err := d.check(discarding, off, n); err != nil {
			return err
		}
		return d.File.Discard(ctx, off, n)
	})
}

// split calls do for pieces of at most most bytes; 0 means that there is no bound.
func split(off, n, most int64, do func(off, n int64) error) error {
	for most > 0 && n > most {
		if err := do(off, most); err != nil {
			return err
		}
		off, n = off+most, n-most
	}
	return do(off, n)
}

func (d *image) Flush(ctx context.Context) error {
	if err := d.check(flushing, 0, 0); err != nil {
		return err
	}
	return d.File.Flush(ctx)
}

// Status is the child's.
func (d *image) Status(_ context.Context, off, n int64) (formats.Extent, error) {
	if err := d.check(asking, off, n); err != nil {
		return formats.Extent{}, err
	}
	return formats.Extent{Len: n, State: formats.Raw, Where: d.File, Offset: off}, nil
}

// Close leaves the child to the graph.
func (d *image) Close() error { return nil }
