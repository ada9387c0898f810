package copyonread

import (
	"context"
	"sync"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// Driver is the copy-on-read filter.
func Driver() *formats.Driver {
	return &formats.Driver{Name: "copy-on-read", Kind: formats.Filter, Open: open}
}

func open(_ context.Context, a formats.OpenArgs) (formats.Image, error) {
	if !a.Flags.Has(formats.ReadWrite) {
		return nil, qerr.New(syscall.EACCES, "Block node is read-only")
	}
	return &image{File: a.File}, nil
}

// image passes everything on and writes back what reads bring up.
type image struct {
	formats.File
	mu sync.RWMutex // shared by writes, alone for a read that copies
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

func (d *image) ReadAt(ctx context.Context, p []byte, off int64) error {
	for len(p) > 0 {
		e, err := d.File.Status(ctx, off, int64(len(p)))
		if err != nil {
			return err
		}
		n := min(max(e.Len, 1), int64(len(p)))
		if e.State&(formats.Data|formats.Zero) != 0 {
			err = d.File.ReadAt(ctx, p[:n], off)
		} else {
			err = d.copyUp(ctx, p[:n], off)
		}
		if err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// copyUp reads and writes back, unless somebody has written there meanwhile. That it cannot be written back does not
// make the read fail.
func (d *image) copyUp(ctx context.Context, p []byte, off int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.File.ReadAt(ctx, p, off); err != nil {
		return err
	}
	e, err := d.File.Status(ctx, off, int64(len(p)))
	if err == nil && e.State&(formats.Data|formats.Zero) == 0 && e.Len >= int64(len(p)) {
		_ = d.File.WriteAt(ctx, p, off, 0)
	}
	return nil
}

func (d *image) WriteAt(ctx context.Context, p []byte, off int64, f formats.WriteFlags) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.File.WriteAt(ctx, p, off, f)
}

func (d *image) WriteZeroes(ctx context.Context, off, n int64, f formats.WriteFlags) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.File.WriteZeroes(ctx, off, n, f|formats.NoFallback)
}

func (d *image) Discard(ctx context.Context, off, n int64) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.File.Discard(ctx, off, n)
}

// Status is the child's.
func (d *image) Status(_ context.Context, off, n int64) (formats.Extent, error) {
	return formats.Extent{Len: n, State: formats.Raw, Where: d.File, Offset: off}, nil
}

// Close leaves the child to the graph.
func (d *image) Close() error { return nil }
