package chain

import (
	"context"
	"math"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

// enter takes the drain gate shared and checks that the node is open. leave gives it back.
func (n *Node) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n.gate.RLock()
	if n.closed {
		n.gate.RUnlock()
		return errClosed
	}
	return nil
}

func (n *Node) leave() { n.gate.RUnlock() }

// bounds checks a range against the size. A storage child may be addressed past its end.
func (n *Node) bounds(off, length int64) error {
	if off < 0 || length < 0 || off > math.MaxInt64-length-(1<<20) {
		return qerr.New(syscall.EIO, "offset %d and length %d are out of range", off, length)
	}
	if !n.storage && off+length > n.Size() {
		return qerr.New(syscall.EIO, "offset %d and length %d are past the end of the image at %d", off, length, n.Size())
	}
	return nil
}

// ReadAt reads at any alignment.
func (n *Node) ReadAt(ctx context.Context, p []byte, off int64) error {
	if len(p) == 0 {
		return nil
	}
	if err := n.enter(ctx); err != nil {
		return err
	}
	defer n.leave()
	if err := n.bounds(off, int64(len(p))); err != nil {
		return err
	}
	l := n.img.Limits()
	align := max(l.Align, 1)
	// What lies past the driver's size, up to the next sector or anywhere in a storage child, reads as zeroes.
	if end := roundUp(n.img.Size(), align); off+int64(len(p)) > end {
		keep := max(end-off, 0)
		clear(p[keep:])
		if p = p[:keep]; len(p) == 0 {
			return nil
		}
	}
	if align > 1 && (off%align != 0 || int64(len(p))%align != 0) {
		return n.readWidened(ctx, p, off, align)
	}
	return n.readSplit(ctx, p, off, l.MaxTransfer)
}

func (n *Node) readSplit(ctx context.Context, p []byte, off, most int64) error {
	for most > 0 && int64(len(p)) > most {
		if err := n.img.ReadAt(ctx, p[:most], off); err != nil {
			return err
		}
		p, off = p[most:], off+most
	}
	return n.img.ReadAt(ctx, p, off)
}

// readWidened reads the aligned range around the caller's; the middle goes straight into p.
func (n *Node) readWidened(ctx context.Context, p []byte, off, align int64) error {
	edge := make([]byte, align)
	if head := off % align; head != 0 {
		if err := n.img.ReadAt(ctx, edge, off-head); err != nil {
			return err
		}
		k := copy(p, edge[head:])
		p, off = p[k:], off+int64(k)
	}
	if mid := roundDown(int64(len(p)), align); mid > 0 {
		if err := n.readSplit(ctx, p[:mid], off, n.img.Limits().MaxTransfer); err != nil {
			return err
		}
		p, off = p[mid:], off+mid
	}
	if len(p) > 0 {
		if err := n.img.ReadAt(ctx, edge, off); err != nil {
			return err
		}
		copy(p, edge)
	}
	return nil
}

// Flush makes everything that completed before survive a loss of power. After it failed once it fails for good: the
// kernel may have dropped what could not be written, so a later success would prove nothing.
func (n *Node) Flush(ctx context.Context) error {
	if err := n.enter(ctx); err != nil {
		return err
	}
	defer n.leave()
	if f := n.failed.Load(); f != nil {
		return *f
	}
	gen := n.writes.Load()
	n.below.Raise(formats.EventFlushToOS)
	if n.flushed.Load() == gen || n.ReadOnly() {
		return nil
	}
	n.below.Raise(formats.EventFlushToDisk)
	if err := n.img.Flush(ctx); err != nil {
		if n.drv.Kind == formats.Protocol {
			n.failed.CompareAndSwap(nil, &err)
		}
		return err
	}
	n.flushed.Store(gen)
	return nil
}
