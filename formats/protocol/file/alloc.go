package file

import (
	"context"
	"errors"
	"syscall"

	"golang.org/x/sys/unix"

	"platter/formats"
	"platter/formats/qerr"
)

// cannot reports whether an error of fallocate means that the file system does not know the operation.
func cannot(err error) bool {
	return errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.ENOTTY) ||
		errors.Is(err, syscall.EINVAL)
}

func fallocate(fd int, mode uint32, off, n int64) error {
	for {
		if err := unix.Fallocate(fd, mode, off, n); err != syscall.EINTR {
			return err
		}
	}
}

// Discard punches a hole. The remembered run of data is forgotten, whatever the result.
func (f *image) Discard(_ context.Context, off, n int64) error {
	defer f.run.Store(nil)
	if f.device {
		return deviceRange(f.fd, unix.BLKDISCARD, off, n)
	}
	return f.punch(off, n)
}

func (f *image) punch(off, n int64) error {
	if f.noPunch.Load() {
		return syscall.ENOTSUP
	}
	err := fallocate(f.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	if err != nil && cannot(err) {
		f.noPunch.Store(true)
		return syscall.ENOTSUP
	}
	return err
}

// WriteZeroes makes the range read as zeroes without writing them: a hole where MayUnmap allows it, otherwise
// allocated and unwritten space.
func (f *image) WriteZeroes(ctx context.Context, off, n int64, flags formats.WriteFlags) error {
	defer f.run.Store(nil)
	err := f.zero(off, n, flags)
	if err == nil {
		f.grown(off + n)
		if flags&formats.FUA != 0 {
			return f.sync()
		}
	}
	return err
}

func (f *image) zero(off, n int64, flags formats.WriteFlags) error {
	if f.device {
		return deviceRange(f.fd, unix.BLKZEROOUT, off, n)
	}
	if flags&formats.MayUnmap != 0 && !f.noPunch.Load() {
		err := f.punch(off, n)
		if err == nil && off+n > f.size.Load() {
			err = f.extend(off + n)
		}
		if !errors.Is(err, syscall.ENOTSUP) {
			return err
		}
	}
	if !f.noZeroRange.Load() {
		err := f.allocate(unix.FALLOC_FL_ZERO_RANGE, off, n)
		if err == nil || !cannot(err) {
			return err
		}
		f.noZeroRange.Store(true)
	}
	if err := f.punch(off, n); err != nil {
		return err
	}
	if err := f.allocate(0, off, n); err != nil && !cannot(err) {
		return err
	}
	return f.extend(off + n)
}

// allocate is fallocate that may make the file longer.
func (f *image) allocate(mode uint32, off, n int64) error {
	f.grow.RLock()
	defer f.grow.RUnlock()
	err := fallocate(f.fd, mode, off, n)
	if err == nil {
		f.grown(off + n)
	}
	return err
}

// extend makes the file at least size bytes long.
func (f *image) extend(size int64) error {
	f.grow.Lock()
	defer f.grow.Unlock()
	if size <= f.size.Load() {
		return nil
	}
	if err := unix.Ftruncate(f.fd, size); err != nil {
		return err
	}
	f.grown(size)
	return nil
}

// Truncate sets the length and allocates what is added as pre says.
func (f *image) Truncate(_ context.Context, size int64, pre formats.Prealloc) error {
	f.run.Store(nil)
	if f.device {
		return f.truncateDevice(size, pre)
	}
	f.grow.Lock()
	defer f.grow.Unlock()
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return qerr.Errno(qerr.Of(err), "Could not inquire current file size")
	}
	if pre != formats.PreallocOff && size < st.Size {
		return qerr.New(syscall.ENOTSUP, "Preallocation can't be used for shrinking files")
	}
	if err := setLength(f.fd, st.Size, size, pre); err != nil {
		return err
	}
	f.size.Store(size)
	return nil
}

// setLength changes a file's length from old to size. What fails in the middle is undone.
func setLength(fd int, old, size int64, pre formats.Prealloc) error {
	var err error
	switch pre {
	case formats.PreallocOff:
		if err = unix.Ftruncate(fd, size); err != nil {
			return qerr.Errno(qerr.Of(err), "Could not resize file")
		}
		if old == 0 && size > 0 {
			writeFirstBlock(fd, size)
		}
		return nil
	case formats.PreallocFalloc:
		if size > old {
			err = fallocate(fd, 0, old, size-old)
		}
		if err != nil {
			err = qerr.Errno(qerr.Of(err), "Could not preallocate new data")
		}
	case formats.PreallocFull:
		err = writeZeroes(fd, old, size)
	default:
		return qerr.New(syscall.ENOTSUP, "Unsupported preallocation mode: %s", pre)
	}
	if err != nil {
		unix.Ftruncate(fd, old)
	}
	return err
}

// writeFirstBlock allocates the beginning of a new file, as QEMU does: some file systems tell the alignment of direct I/O
// only by a request to a block that is there. The file is as good without.
func writeFirstBlock(fd int, size int64) {
	zeroes := make([]byte, 4096)
	if size < int64(len(zeroes)) {
		zeroes = zeroes[:512]
	}
	unix.Pwrite(fd, zeroes, 0)
}

// writeZeroes fills [from, to) with written zeroes and forces them to storage, so that the space is really there.
func writeZeroes(fd int, from, to int64) error {
	if err := unix.Ftruncate(fd, to); err != nil {
		return qerr.Errno(qerr.Of(err), "Could not resize file")
	}
	zeroes := make([]byte, 1<<20)
	for off := from; off < to; {
		n, err := unix.Pwrite(fd, zeroes[:min(int64(len(zeroes)), to-off)], off)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return qerr.Errno(qerr.Of(err), "Could not write zeros for preallocation")
		}
		off += int64(n)
	}
	if err := unix.Fsync(fd); err != nil {
		return qerr.Errno(qerr.Of(err), "Could not flush file to disk")
	}
	return nil
}
