package chain

import (
	"context"
	"errors"
	"syscall"

	"platter/formats"
	"platter/formats/codec"
	"platter/formats/qerr"
)

type detectZeroes uint8

const (
	detectOff detectZeroes = iota
	detectOn
	detectUnmap
)

// enterWrite is enter for requests that change the content: it checks access and bounds, and records the range.
func (n *Node) enterWrite(ctx context.Context, off, length int64) error {
	if err := n.enter(ctx); err != nil {
		return err
	}
	err := n.bounds(off, length)
	if err == nil && n.ReadOnly() {
		err = qerr.New(syscall.EPERM, "Block node is read-only")
	}
	if err != nil {
		n.leave()
		return err
	}
	if n.recorder != nil {
		n.recorder.Record(off, length)
	}
	return nil
}

// leaveWrite counts the change, successful or not: a failed write may have changed something that a flush must cover.
func (n *Node) leaveWrite() {
	n.writes.Add(1)
	n.leave()
}

// WriteAt writes at any alignment.
func (n *Node) WriteAt(ctx context.Context, p []byte, off int64, f formats.WriteFlags) error {
	if len(p) == 0 {
		return nil
	}
	if n.zeroes != detectOff && codec.IsZero(p) {
		if n.zeroes == detectUnmap {
			f |= formats.MayUnmap
		}
		return n.WriteZeroes(ctx, off, int64(len(p)), f)
	}
	if err := n.enterWrite(ctx, off, int64(len(p))); err != nil {
		return err
	}
	return n.writeThrough(ctx, n.write(ctx, p, off, f))
}

// writeThrough ends a change that enterWrite began, and flushes it where the node is to do so after each.
func (n *Node) writeThrough(ctx context.Context, err error) error {
	n.leaveWrite()
	if err == nil && n.flags.Has(formats.WriteThrough) {
		return n.Flush(ctx)
	}
	return err
}

func (n *Node) write(ctx context.Context, p []byte, off int64, f formats.WriteFlags) error {
	if n.writer == nil {
		return qerr.New(syscall.ENOTSUP, "driver '%s' cannot write", n.drv.Name)
	}
	l := n.Limits()
	if l.Align == 1 {
		return n.writeSplit(ctx, p, off, f, l.MaxTransfer)
	}
	first, end := roundDown(off, l.Align), roundUp(off+int64(len(p)), l.Align)
	held := n.ranges.lock(first, end-first)
	defer n.ranges.unlock(held)
	if first != off || end != off+int64(len(p)) {
		return n.writeWidened(ctx, p, off, f, l)
	}
	return n.writeSplit(ctx, p, off, f, l.MaxTransfer)
}

func (n *Node) writeSplit(ctx context.Context, p []byte, off int64, f formats.WriteFlags, most int64) error {
	if n.probe != nil && off < sectorSize && n.probe(p) {
		return qerr.New(syscall.EPERM, "writing this first sector would change the probed format of '%s'", n.name)
	}
	for most > 0 && int64(len(p)) > most {
		if err := n.writePiece(ctx, p[:most], off, f); err != nil {
			return err
		}
		p, off = p[most:], off+most
	}
	return n.writePiece(ctx, p, off, f)
}

// writePiece is one request as the driver sees it.
func (n *Node) writePiece(ctx context.Context, p []byte, off int64, f formats.WriteFlags) error {
	n.events.Raise(formats.EventPwritev)
	err := n.writer.WriteAt(ctx, p, off, f)
	n.events.Raise(formats.EventPwritevDone)
	return err
}

// writeWidened reads what surrounds p up to the alignment and writes it back with p. The range lock is held.
func (n *Node) writeWidened(ctx context.Context, p []byte, off int64, f formats.WriteFlags, l formats.Limits) error {
	first, end := roundDown(off, l.Align), roundUp(off+int64(len(p)), l.Align)
	if end-first <= 64<<10 {
		return n.writeAround(ctx, p, off, f, l, first, end)
	}
	// A long request: only its edges are read, the middle is written as it is.
	if head := l.Align - off%l.Align; head != l.Align {
		if err := n.writeAround(ctx, p[:head], off, f, l, first, first+l.Align); err != nil {
			return err
		}
		p, off = p[head:], off+head
	}
	mid := roundDown(int64(len(p)), l.Align)
	if err := n.writeSplit(ctx, p[:mid], off, f, l.MaxTransfer); err != nil {
		return err
	}
	if p, off = p[mid:], off+mid; len(p) == 0 {
		return nil
	}
	return n.writeAround(ctx, p, off, f, l, off, off+l.Align)
}

func (n *Node) writeAround(ctx context.Context, p []byte, off int64, f formats.WriteFlags, l formats.Limits, first, end int64) error {
	buf := make([]byte, end-first)
	size := roundUp(n.img.Size(), max(n.img.Limits().Align, 1))
	readEdge := func(at int64) error {
		if b := buf[at-first : at-first+l.Align]; at+l.Align <= size {
			return n.img.ReadAt(ctx, b, at)
		} else if at < size {
			return n.img.ReadAt(ctx, b[:size-at], at)
		}
		return nil
	}
	if first != off {
		n.events.Raise(formats.EventPwritevRMWHead)
		if err := readEdge(first); err != nil {
			return err
		}
		n.events.Raise(formats.EventPwritevRMWAfterHead)
	}
	if last := end - l.Align; off+int64(len(p)) != end && (last != first || first == off) {
		n.events.Raise(formats.EventPwritevRMWTail)
		if err := readEdge(last); err != nil {
			return err
		}
		n.events.Raise(formats.EventPwritevRMWAfterTail)
	}
	copy(buf[off-first:], p)
	// An image that cannot grow ends in mid-sector: what was added past its end stays unwritten.
	if !n.storage && end > n.Size() {
		buf = buf[:n.Size()-first]
	}
	return n.writeSplit(ctx, buf, first, f, l.MaxTransfer)
}

// CopyIn has the file system copy from an open file into the range, which lies within the image. ENOTSUP where that cannot
// be done.
func (n *Node) CopyIn(ctx context.Context, off, length int64, fd int, from int64) error {
	to, ok := n.img.(formats.HostCopier)
	l := n.Limits()
	if !ok || length == 0 || off%l.Align != 0 || length%l.Align != 0 || n.probe != nil && off < sectorSize {
		return syscall.ENOTSUP
	}
	if err := n.enterWrite(ctx, off, length); err != nil {
		return err
	}
	err := to.CopyIn(ctx, off, length, fd, from)
	if errors.Is(err, syscall.ENOTSUP) {
		n.leaveWrite()
		return err
	}
	return n.writeThrough(ctx, err)
}

// WriteCompressed passes a cluster to the driver to be stored compressed.
func (n *Node) WriteCompressed(ctx context.Context, p []byte, off int64) error {
	c, ok := formats.As[formats.CompressedWriter](n.img)
	if !ok {
		if below := n.Filtered(); below != nil {
			return below.WriteCompressed(ctx, p, off)
		}
		return qerr.New(syscall.ENOTSUP, "driver '%s' cannot write compressed", n.drv.Name)
	}
	if err := n.enterWrite(ctx, off, int64(len(p))); err != nil {
		return err
	}
	return n.writeThrough(ctx, c.WriteCompressed(ctx, p, off))
}
