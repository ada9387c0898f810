package file

import (
	"context"
	"syscall"

	"golang.org/x/sys/unix"

	"platter/formats"
)

// dataRun is the run of data found last: formats ask cluster by cluster, and the kernel need not be asked each time.
// Only data is remembered, since a hole may be filled by a writer at any moment without harm, but data that is given
// up must not be called a hole too late; Discard and WriteZeroes forget it.
type dataRun struct{ off, end int64 }

// Status tells data from holes.
func (f *image) Status(_ context.Context, off, n int64) (formats.Extent, error) {
	if f.device {
		return formats.Extent{Len: n, State: formats.Data, Offset: off}, nil
	}
	if r := f.run.Load(); r != nil && off >= r.off && off < r.end {
		return formats.Extent{Len: min(n, r.end-off), State: formats.Data, Offset: off}, nil
	}
	data, err := unix.Seek(f.fd, off, unix.SEEK_DATA)
	switch {
	case err == syscall.ENXIO: // a hole up to the end of the file
		return formats.Extent{Len: n, State: formats.Zero, Offset: off}, nil
	case err != nil || data < off: // a file system that cannot tell: all is data
		return formats.Extent{Len: n, State: formats.Data, Offset: off}, nil
	case data > off:
		return formats.Extent{Len: min(n, data-off), State: formats.Zero, Offset: off}, nil
	}
	hole, err := unix.Seek(f.fd, off, unix.SEEK_HOLE)
	if err != nil || hole <= off {
		return formats.Extent{Len: n, State: formats.Data, Offset: off}, nil
	}
	f.run.Store(&dataRun{off, hole})
	return formats.Extent{Len: min(n, hole-off), State: formats.Data, Offset: off}, nil
}
