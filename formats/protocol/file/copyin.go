package file

import (
	"context"
	"io"
	"syscall"

	"golang.org/x/sys/unix"
)

// CopyIn lets the file system copy. Where it cannot, between file systems or kinds of files, that is ENOTSUP.
func (f *image) CopyIn(ctx context.Context, off, n int64, fd int, from int64) error {
	if off+n > f.size.Load() {
		f.grow.RLock()
		defer f.grow.RUnlock()
	}
	for some := false; n > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		k, err := unix.CopyFileRange(fd, &from, f.fd, &off, int(n), 0)
		switch {
		case err == syscall.EINTR:
			continue
		case err != nil && !some && (err == syscall.EXDEV || err == syscall.EINVAL || err == syscall.ENOSYS || err == syscall.EBADF):
			return syscall.ENOTSUP
		case err != nil:
			return err
		case k == 0:
			return io.ErrUnexpectedEOF
		}
		some = true
		n -= int64(k)
		f.grown(off)
	}
	return nil
}
