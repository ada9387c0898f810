package tools

import (
	"context"
	"errors"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"platter/chain"
	"platter/formats"
	"platter/tools/copier"
)

// offloader lets the file system copy (-C). It gives up for good at the first piece that cannot be copied so; the usual
// way then goes on from there. What is copied is not searched for zeroes.
type offloader struct {
	on  atomic.Bool
	dev uint64 // file system of the target
}

// hostRange is where a piece of the source lies in a file.
type hostRange struct {
	fd  int
	dev uint64
	off int64
}

// startOffload decides whether the file system may copy.
func (c *conversion) startOffload() {
	if !c.CopyRange || !c.target.Driver().CopyRange {
		return
	}
	file := c.target
	for file.File() != nil {
		file = file.File()
	}
	h, ok := hostFile(file)
	if !ok {
		return
	}
	c.offload.on.Store(true)
	c.offload.dev = h.dev
}

// hostFile is the beginning of an open file of this machine.
func hostFile(n *chain.Node) (hostRange, bool) {
	f, ok := n.Unwrap().(formats.HostFile)
	if !ok {
		return hostRange{}, false
	}
	fd, ok := f.FD()
	if !ok {
		return hostRange{}, false
	}
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return hostRange{}, false
	}
	return hostRange{fd: fd, dev: st.Dev}, true
}

// place finds where the data of an extent of a source lies in a file; nil if it does not, or not on the target's file
// system.
func (c *conversion) place(source *chain.Node, e chain.Layer) any {
	if !c.offload.on.Load() || !source.Driver().CopyRange || e.Node == nil || !e.Node.Driver().CopyRange {
		return nil
	}
	n, ok := e.Where.(*chain.Node)
	if !ok || e.State.Has(formats.Compressed) {
		return nil
	}
	h, ok := hostFile(n)
	if !ok || h.dev != c.offload.dev {
		return nil
	}
	h.off = e.Offset
	return h
}

// copies reports whether the piece is copied by the file system.
func (c *conversion) copies(p copier.Piece) bool {
	return p.Note != nil && c.offload.on.Load()
}

// whole reports whether the piece is written without a search for zeroes.
func (c *conversion) whole(p copier.Piece) bool {
	return c.SparseSize == 0 || p.Note != nil && c.offload.on.Load()
}

// copyByHost lets the file system copy a piece; false if it did not. A part may be copied then.
func (c *conversion) copyByHost(ctx context.Context, p copier.Piece, turn *formats.Turn) bool {
	h := p.Note.(hostRange)
	if c.limit.wait(ctx, p.Len) != nil {
		return false
	}
	err := c.target.CopyIn(formats.WithTurn(ctx, turn), p.Off, p.Len, h.fd, h.off)
	if err != nil && !errors.Is(err, syscall.ENOTSUP) {
		c.offload.on.Store(false)
	}
	return err == nil
}
