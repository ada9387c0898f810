package file

import (
	"context"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"platter/formats"
)

// directBuffer is the size of the aligned buffers through which O_DIRECT requests go when the caller's memory is not
// aligned.
const directBuffer = 1 << 20

var directPool = sync.Pool{New: func() any {
	b, err := unix.Mmap(-1, 0, directBuffer, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		panic(err) // out of address space
	}
	return &b
}}

// ReadAt reads from the file; what lies past its end reads as zeroes.
func (f *image) ReadAt(_ context.Context, p []byte, off int64) error {
	if f.align > 1 && uintptr(unsafe.Pointer(&p[0]))%uintptr(f.align) != 0 {
		return f.bounce(p, off, func(buf, p []byte, off int64) error {
			err := f.read(buf, off)
			copy(p, buf)
			return err
		})
	}
	return f.read(p, off)
}

func (f *image) read(p []byte, off int64) error {
	for len(p) > 0 {
		n, err := f.pread(p, off)
		if err == syscall.EINTR || err == syscall.EAGAIN {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 { // past the end, or truncated by somebody else meanwhile
			clear(p)
			return nil
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// pread is one request to read, as pread(2) or through the queue of the option aio.
func (f *image) pread(p []byte, off int64) (int, error) {
	if q := f.aio.ready(f.fd); q != nil {
		return q.do(opRead, p, off)
	}
	return unix.Pread(f.fd, p, off)
}

// pwrite is one request to write.
func (f *image) pwrite(p []byte, off int64) (int, error) {
	if q := f.aio.ready(f.fd); q != nil {
		return q.do(opWrite, p, off)
	}
	return unix.Pwrite(f.fd, p, off)
}

// datasync is one request to sync. Before Linux 4.18, and for some file systems, a queue has none.
func (f *image) datasync() error {
	if q := f.aio.ready(f.fd); q != nil {
		if _, err := q.do(opSync, nil, 0); err != syscall.EINVAL {
			return err
		}
	}
	return unix.Fdatasync(f.fd)
}

// WriteAt writes all of p or fails; the file grows where it must.
func (f *image) WriteAt(_ context.Context, p []byte, off int64, flags formats.WriteFlags) error {
	end := off + int64(len(p))
	if end > f.size.Load() {
		// extend must not cut off what is written behind the length that it knows.
		f.grow.RLock()
		defer f.grow.RUnlock()
	}
	var err error
	if f.align > 1 && uintptr(unsafe.Pointer(&p[0]))%uintptr(f.align) != 0 {
		err = f.bounce(p, off, func(buf, p []byte, off int64) error {
			copy(buf, p)
			return f.write(buf, off)
		})
	} else {
		err = f.write(p, off)
	}
	if err != nil {
		return err
	}
	f.grown(end)
	if flags&formats.FUA != 0 {
		return f.sync()
	}
	return nil
}

func (f *image) write(p []byte, off int64) error {
	for len(p) > 0 {
		n, err := f.pwrite(p, off)
		if err == syscall.EINTR || err == syscall.EAGAIN {
			continue
		}
		if err != nil {
			return err
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// bounce moves p in pieces through an aligned buffer.
func (f *image) bounce(p []byte, off int64, move func(buf, p []byte, off int64) error) error {
	b := directPool.Get().(*[]byte)
	defer directPool.Put(b)
	for len(p) > 0 {
		n := min(len(p), directBuffer)
		if err := move((*b)[:n], p[:n], off); err != nil {
			return err
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// grown raises the remembered size to end.
func (f *image) grown(end int64) {
	for {
		size := f.size.Load()
		if end <= size || f.size.CompareAndSwap(size, end) {
			return
		}
	}
}

// Flush forces the file's data, and the metadata needed to read it, to stable storage.
func (f *image) Flush(context.Context) error {
	if f.noFlush {
		return nil
	}
	return f.sync()
}

func (f *image) sync() error {
	for {
		err := f.datasync()
		if err == syscall.EINVAL && f.device {
			return nil // a character device that keeps nothing
		}
		if err != syscall.EINTR {
			return err
		}
	}
}
