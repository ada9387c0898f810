package raw

import (
	"context"
	"syscall"

	"platter/formats"
	"platter/formats/option"
	"platter/formats/qerr"
)

// Driver is the raw format.
func Driver() *formats.Driver {
	return &formats.Driver{
		Name: "raw", Kind: formats.Format, RawCreate: true, CopyRange: true,
		OpenOpts: option.Schema{
			{Name: "offset", Type: option.Size, Help: "offset in the disk where the image starts"},
			{Name: "size", Type: option.Size, Help: "virtual disk size"},
		},
		StrongOpts: []string{"offset", "size"},
		CreateOpts: option.Schema{{Name: "size", Type: option.Size, Help: "Virtual disk size"}},
		// The lowest score that is not 0: raw is what is left when nothing else fits.
		Probe:   func([]byte, string) int { return 1 },
		Open:    open,
		Measure: measure,
	}
}

type image struct {
	file   formats.File
	events formats.Events
	off    int64
	size   int64 // of the window; -1: up to the end of the file
	window bool
}

func open(_ context.Context, a formats.OpenArgs) (formats.Image, error) {
	if a.File == nil {
		return nil, qerr.New(syscall.EINVAL, "A block device must be specified for \"file\"")
	}
	r := &image{file: a.File, events: formats.EventsOf(a.File), size: -1}
	if err := r.place(a.Options); err != nil {
		return nil, err
	}
	return r, nil
}

// place reads the window. Messages and the order of checks are QEMU's.
func (r *image) place(v *option.Values) error {
	real := r.file.Size()
	off := v.Uint("offset", 0)
	if off > uint64(real) {
		return qerr.New(syscall.EINVAL, "Offset (%d) cannot be greater than size of the containing file (%d)", off, real)
	}
	r.off = int64(off)
	if v.Has("size") {
		size := v.Uint("size", 0)
		if size > uint64(real-r.off) {
			return qerr.New(syscall.EINVAL, "The sum of offset (%d) and size (%d) has to be smaller or equal to the "+
				" actual size of the containing file (%d)", off, size, real)
		}
		if size%512 != 0 {
			return qerr.New(syscall.EINVAL, "Specified size is not multiple of 512")
		}
		r.size = int64(size)
	}
	r.window = v.Has("offset") || v.Has("size")
	return nil
}

func (r *image) Size() int64 {
	if r.size >= 0 {
		return r.size
	}
	return max(r.file.Size()-r.off, 0)
}

func (r *image) Limits() formats.Limits {
	l := r.file.Limits()
	l.Growable = l.Growable && r.size < 0
	if r.window { // the child's units do not lie where the disk's do
		l.ZeroAlign, l.DiscardAlign, l.Align = 0, 0, 0
	}
	return l
}

func (r *image) ReadAt(ctx context.Context, p []byte, off int64) error {
	r.events.Raise(formats.EventRead)
	return r.file.ReadAt(ctx, p, off+r.off)
}

// Lend lends what the file lends.
func (r *image) Lend(off, n int64, l *formats.Loan) bool {
	below, ok := r.file.(formats.Lender)
	return ok && below.Lend(off+r.off, n, l)
}

// Return is never called: the file holds what is lent.
func (r *image) Return(uint64) {}

func (r *image) WriteAt(ctx context.Context, p []byte, off int64, f formats.WriteFlags) error {
	r.events.Raise(formats.EventWrite)
	return r.file.WriteAt(ctx, p, off+r.off, f)
}

// CopyIn is the file's.
func (r *image) CopyIn(ctx context.Context, off, n int64, fd int, from int64) error {
	to, ok := r.file.(formats.HostCopier)
	if !ok {
		return syscall.ENOTSUP
	}
	return to.CopyIn(ctx, off+r.off, n, fd, from)
}

func (r *image) WriteZeroes(ctx context.Context, off, n int64, f formats.WriteFlags) error {
	return r.file.WriteZeroes(ctx, off+r.off, n, f|formats.NoFallback)
}

func (r *image) Discard(ctx context.Context, off, n int64) error {
	return r.file.Discard(ctx, off+r.off, n)
}

// Truncate changes the file. A window of fixed size stays what it is.
func (r *image) Truncate(ctx context.Context, size int64, pre formats.Prealloc) error {
	if r.size >= 0 {
		return qerr.New(syscall.ENOTSUP, "Cannot resize fixed-size raw disks")
	}
	if size > 1<<63-1-r.off {
		return qerr.New(syscall.EINVAL, "Disk size too large for the chosen offset")
	}
	return r.file.Truncate(ctx, size+r.off, pre)
}

func (r *image) Status(_ context.Context, off, n int64) (formats.Extent, error) {
	return formats.Extent{Len: n, State: formats.Raw, Where: r.file, Offset: off + r.off}, nil
}

func (r *image) Flush(ctx context.Context) error { return r.file.Flush(ctx) }

func (r *image) Close() error { return r.file.Flush(context.Background()) }

func measure(_ context.Context, a formats.MeasureArgs) (formats.Measurement, error) {
	size := a.Size
	if a.Source != nil {
		size = a.Source.Size()
	} else {
		size = (size + 511) / 512 * 512
	}
	return formats.Measurement{Required: size, FullyAllocated: size, Bitmaps: -1}, nil
}
