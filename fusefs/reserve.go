package fusefs

import (
	"context"
	"errors"
	"syscall"
	"time"

	"platter/chain"
	"platter/formats"
	"platter/formats/qerr"
)

// reserveStep is how much is reserved while other requests wait, in bytes.
const reserveStep = 1 << 20

// reserve is plain fallocate(2): afterwards no write to the range fails for want of space in the image. What the range
// reads as does not change, so what a lower layer holds is copied up.
func (h *dataHandle) reserve(by caller, off, n int64, keepSize bool) error {
	img, size := h.f.img, h.size()
	switch {
	case !h.f.writable:
		return syscall.EBADF
	case off+n > size && (keepSize || h.f != img.disk):
		return h.noSpace(off, n, size)
	}
	ctx, stop := by.context()
	defer stop()
	if n := min(n, size-off); n > 0 {
		if err := img.reserve(ctx, h.f.base+off, n); err != nil {
			return err
		}
	}
	if off+n <= size {
		return nil
	}
	return img.growReserved(ctx, size, off+n)
}

func (h *dataHandle) noSpace(off, n, size int64) error {
	return h.f.img.failed("fallocate", off, n, qerr.New(syscall.EOPNOTSUPP, "there is no space to reserve behind the end at %d", size))
}

// zeroLonger is fallocate(2) with ZERO_RANGE and without KEEP_SIZE. What is added reads as zeroes anyway.
func (h *dataHandle) zeroLonger(by caller, off, n int64) error {
	size := h.size()
	switch {
	case !h.f.writable:
		return syscall.EBADF
	case off+n <= size:
		return h.zero(off, n, false)
	case h.f != h.f.img.disk:
		return h.noSpace(off, n, size)
	}
	ctx, stop := by.context()
	defer stop()
	if err := h.f.img.growReserved(ctx, size, off+n); err != nil || off >= size {
		return err
	}
	return h.zero(off, size-off, false)
}

// growReserved makes the disk longer, with the space for what is added.
func (img *image) growReserved(ctx context.Context, from, size int64) error {
	if size%512 != 0 {
		return img.failed("fallocate", 0, size, qerr.New(syscall.EINVAL, "the size %d is not a multiple of 512", size))
	}
	err := img.node.Truncate(ctx, size, formats.PreallocFalloc)
	if errors.Is(err, syscall.ENOTSUP) {
		if err = img.node.Truncate(ctx, size, formats.PreallocOff); err == nil {
			err = img.reserve(ctx, from, size-from)
		}
	}
	img.changed(img.disk, 0, 0, false)
	if err != nil {
		return img.failed("fallocate", from, size-from, err)
	}
	return nil
}

func (img *image) reserve(ctx context.Context, off, n int64) error {
	buf := make([]byte, min(n, reserveStep))
	for n > 0 {
		step := min(n, reserveStep-off%reserveStep)
		err := ctx.Err()
		if err == nil {
			err = img.node.Alone(func(n *chain.Node) error { return reserveIn(ctx, n, buf, off, step) })
		}
		if err != nil {
			return img.failed("fallocate", off, n, err)
		}
		off, n = off+step, n-step
	}
	img.gen.Add(1)
	img.mtime.Store(time.Now().UnixNano())
	return nil
}

// reserveIn gives a range space in the image's own layer. Formats in which zeroes take none get them written.
func reserveIn(ctx context.Context, node *chain.Node, buf []byte, off, n int64) error {
	for n > 0 {
		e, err := node.Status(ctx, off, n)
		if err != nil {
			return err
		}
		k := min(e.Len, n)
		switch held := e.State.Has(formats.Allocated | formats.Data); {
		case k <= 0:
			return syscall.EIO
		case held && !e.State.Has(formats.Zero) && !e.State.Has(formats.Compressed):
		case e.State.Has(formats.Zero) && node.Driver().RawCreate:
			err = node.WriteZeroes(ctx, off, k, 0)
		default:
			if err = node.ReadAt(ctx, buf[:k], off); err == nil {
				err = node.WriteAt(ctx, buf[:k], off, 0)
			}
		}
		if err != nil {
			return err
		}
		off, n = off+k, n-k
	}
	return nil
}
