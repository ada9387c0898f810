package chain

import (
	"context"
	"errors"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

// zeroBuffer is what is written where a driver cannot write zeroes by itself. It is never changed.
var zeroBuffer [256 << 10]byte

// WriteZeroes makes [off, off+length) read as zeroes, at any alignment.
func (n *Node) WriteZeroes(ctx context.Context, off, length int64, f formats.WriteFlags) error {
	if length == 0 {
		return nil
	}
	if err := n.enterWrite(ctx, off, length); err != nil {
		return err
	}
	if n.writer == nil {
		n.leaveWrite()
		return qerr.New(syscall.ENOTSUP, "driver '%s' cannot write", n.drv.Name)
	}
	if !n.flags.Has(formats.Unmap) {
		f &^= formats.MayUnmap
	}
	l := n.Limits()
	return n.writeThrough(ctx, pieces(off, length, max(l.ZeroAlign, l.Align), l.MaxTransfer, func(off, length int64) error {
		return n.zero(ctx, off, length, f, l)
	}))
}

// zero handles one piece: the driver's own way where it can, written zeroes otherwise.
func (n *Node) zero(ctx context.Context, off, length int64, f formats.WriteFlags, l formats.Limits) error {
	z, ok := n.img.(formats.Zeroer)
	aligned := off%l.Align == 0 && (length%l.Align == 0 || off+length == n.Size())
	if ok && aligned {
		held := span{}
		if l.Align > 1 {
			held = n.ranges.lock(off, length)
		}
		n.events.Raise(formats.EventPwritevZero)
		err := z.WriteZeroes(ctx, off, length, f&^formats.NoFallback)
		if l.Align > 1 {
			n.ranges.unlock(held)
		}
		if !errors.Is(err, syscall.ENOTSUP) {
			return err
		}
	}
	if f&formats.NoFallback != 0 {
		return qerr.New(syscall.ENOTSUP, "driver '%s' cannot write zeroes here", n.drv.Name)
	}
	for length > 0 {
		k := min(length, int64(len(zeroBuffer)))
		if err := n.write(ctx, zeroBuffer[:k], off, f&formats.FUA); err != nil {
			return err
		}
		off, length = off+k, length-k
	}
	return nil
}

// Discard gives up the storage of [off, off+length) where the driver can and the image was opened with Unmap.
func (n *Node) Discard(ctx context.Context, off, length int64) error {
	if length == 0 {
		return nil
	}
	if err := n.enterWrite(ctx, off, length); err != nil {
		return err
	}
	defer n.leaveWrite()
	d, ok := n.img.(formats.Discarder)
	if !ok || !n.flags.Has(formats.Unmap) {
		return nil
	}
	l := n.Limits()
	// Edges that do not fill a unit of the request alignment cannot be given up.
	first, end := roundUp(off, l.Align), roundDown(off+length, l.Align)
	if off+length == n.Size() {
		end = off + length
	}
	if first >= end {
		return nil
	}
	return pieces(first, end-first, max(l.DiscardAlign, l.Align), l.MaxTransfer, func(off, length int64) error {
		if err := d.Discard(ctx, off, length); !errors.Is(err, syscall.ENOTSUP) {
			return err
		}
		return nil
	})
}

// pieces splits a range at its first and last multiple of align, so that do sees whole units or parts of one.
func pieces(off, length, align, most int64, do func(off, length int64) error) error {
	if most > 0 {
		most = max(roundDown(most, align), align)
	}
	for length > 0 {
		n := length
		switch head := off % align; {
		case head != 0:
			n = min(n, align-head)
		case n > align:
			n = roundDown(n, align)
		}
		if most > 0 {
			n = min(n, most)
		}
		if err := do(off, n); err != nil {
			return err
		}
		off, length = off+n, length-n
	}
	return nil
}

// Truncate changes the size. What is added to a formatted image reads as zeroes, even where a longer backing file
// would show through. It runs exclusively.
func (n *Node) Truncate(ctx context.Context, size int64, pre formats.Prealloc) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return n.Exclusive(func() error {
		if n.ReadOnly() {
			return qerr.New(syscall.EACCES, "Image is read-only")
		}
		r, ok := n.img.(formats.Resizer)
		if !ok {
			return qerr.New(syscall.ENOTSUP, "Image format driver does not support resize")
		}
		old := n.Size()
		if err := r.Truncate(ctx, size, pre); err != nil {
			return err
		}
		b := n.Backing()
		if b == nil || size <= old || b.Size() <= old {
			return nil
		}
		end := min(size, b.Size())
		if pre == formats.PreallocFalloc || pre == formats.PreallocFull {
			return n.hideHoles(ctx, old, end)
		}
		return n.hideBacking(ctx, old, end)
	})
}

// hideHoles is hideBacking for what has no space of its own: space that was just allocated reads as zeroes.
func (n *Node) hideHoles(ctx context.Context, from, to int64) error {
	for from < to {
		e, err := n.img.Status(ctx, from, to-from)
		if err != nil {
			return err
		}
		part := to - from
		if e.Len > 0 {
			part = min(part, e.Len)
		}
		if e.State == 0 {
			if err := n.hideBacking(ctx, from, from+part); err != nil {
				return err
			}
		}
		from += part
	}
	return nil
}

// hideBacking writes zeroes over [from, to), which a longer backing file would otherwise show. The gate is held.
func (n *Node) hideBacking(ctx context.Context, from, to int64) error {
	if n.writer == nil {
		return qerr.New(syscall.ENOTSUP, "driver '%s' cannot write", n.drv.Name)
	}
	l := n.Limits()
	return pieces(from, to-from, max(l.ZeroAlign, l.Align), l.MaxTransfer, func(off, length int64) error {
		return n.zero(ctx, off, length, 0, l)
	})
}
