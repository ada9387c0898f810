package chain

import (
	"context"

	"platter/formats"
)

// Status describes the run at off in this layer, as QEMU's bdrv_block_status does: questions that the driver passes on
// (Raw) are answered by its child, and stored data is asked whether it is a hole there.
func (n *Node) Status(ctx context.Context, off, length int64) (formats.Extent, error) {
	return n.status(ctx, off, length, true)
}

// IsAllocated answers only whether this layer or the backing file decides; cheaper, as storage is not asked for holes.
func (n *Node) IsAllocated(ctx context.Context, off, length int64) (formats.Extent, error) {
	return n.status(ctx, off, length, false)
}

func (n *Node) status(ctx context.Context, off, length int64, holes bool) (formats.Extent, error) {
	if err := n.enter(ctx); err != nil {
		return formats.Extent{}, err
	}
	defer n.leave()
	size := n.Size()
	if off >= size {
		return formats.Extent{State: formats.EOF}, nil
	}
	length = min(length, size-off)
	e, err := n.ownStatus(ctx, off, length)
	if err != nil {
		return e, err
	}
	e.Len = min(e.Len, length)
	if e.State.Has(formats.Raw) {
		if e, err = n.passOn(ctx, e, holes); err != nil {
			return e, err
		}
	}
	switch {
	case e.State&(formats.Data|formats.Zero) != 0:
		e.State |= formats.Allocated
	case n.drv.Backing:
		n.behind(&e, off, holes)
	}
	if e.State.Has(formats.Recurse|formats.Data) && holes && e.Where != nil && !e.State.Has(formats.Zero) {
		if err := recurse(ctx, &e); err != nil {
			return e, err
		}
	}
	e.State &^= formats.Raw | formats.Recurse | formats.Unplaced
	if off+e.Len == size {
		e.State |= formats.EOF
	}
	return e, nil
}

// ownStatus asks the driver, which sees only what lies within its own size. A file that ends within a sector reads as
// zeroes up to the end of it, and shows that; other images are of one kind there.
func (n *Node) ownStatus(ctx context.Context, off, length int64) (formats.Extent, error) {
	own := n.img.Size()
	if _, padded := n.img.(formats.Padded); n.drv.RawCreate || padded {
		own = n.Size()
	}
	if off >= own {
		e := formats.Extent{Len: length, State: formats.Data | formats.Zero}
		if n.drv.Kind == formats.Protocol {
			e.State, e.Where, e.Offset = formats.Zero, n, off
		}
		return e, nil
	}
	e, err := n.img.Status(ctx, off, min(length, own-off))
	if n.drv.Kind == formats.Protocol {
		if err == nil && e.Where == nil && !e.State.Has(formats.Unplaced) {
			e.Where, e.Offset = n, off
		}
		return e, err
	}
	if err == nil && off+e.Len == own {
		e.Len = length
	}
	return e, err
}

func (n *Node) passOn(ctx context.Context, e formats.Extent, holes bool) (formats.Extent, error) {
	if child, ok := e.Where.(*Node); ok {
		got, err := child.status(ctx, e.Offset, e.Len, holes)
		if err == nil && got.Len == 0 { // the child is shorter than its parent believes
			got = formats.Extent{Len: e.Len, State: formats.Zero}
		}
		got.State &^= formats.EOF
		return got, err
	}
	e.State |= formats.Data
	return e, nil
}

// behind decides what an unallocated range of a format with backing files means where no backing file answers.
func (n *Node) behind(e *formats.Extent, off int64, holes bool) {
	b := n.Backing()
	if b == nil || (holes && off >= b.Size()) {
		e.State |= formats.Zero
	}
}

func recurse(ctx context.Context, e *formats.Extent) error {
	child, ok := e.Where.(*Node)
	if !ok {
		return nil
	}
	got, err := child.status(ctx, e.Offset, e.Len, true)
	if err != nil {
		return nil // the content can still be read; a protocol that cannot tell holes says so by an error
	}
	if got.State.Has(formats.EOF) && (got.Len == 0 || got.State.Has(formats.Zero)) {
		e.State |= formats.Zero // past the end of the storage everything reads as zeroes
		return nil
	}
	e.Len = got.Len
	e.State |= got.State & formats.Zero
	return nil
}

// Layer is an extent together with the node of the chain that decides it.
type Layer struct {
	formats.Extent
	Node  *Node // nil: no layer has the range, it reads as zeroes
	Depth int   // 0 for the node asked, filters not counted
}

// StatusAbove describes the run at off as seen from n, looking down the chain until a layer holds it; base, if not nil,
// ends the search before it (QEMU's bdrv_block_status_above).
func (n *Node) StatusAbove(ctx context.Context, base *Node, off, length int64) (Layer, error) {
	return n.above(ctx, base, off, length, true)
}

// ChainStatus is StatusAbove down to the last layer, for drivers.
func (n *Node) ChainStatus(ctx context.Context, off, length int64) (formats.Extent, error) {
	l, err := n.above(ctx, nil, off, length, true)
	return l.Extent, err
}

// AllocatedAbove is StatusAbove without asking the storage for holes.
func (n *Node) AllocatedAbove(ctx context.Context, base *Node, off, length int64) (Layer, error) {
	return n.above(ctx, base, off, length, false)
}

func (n *Node) above(ctx context.Context, base *Node, off, length int64, holes bool) (Layer, error) {
	depth, end := 0, int64(-1)
	for p := n; p != base && p != nil; p = p.Below() {
		e, err := p.status(ctx, off, length, holes)
		if err != nil {
			return Layer{}, err
		}
		if e.Len == 0 && p != n {
			// Past the end of a shorter backing file: it decides, and reads as zeroes.
			e = formats.Extent{Len: length, State: formats.Zero | formats.Allocated}
			return Layer{mark(e, off, end), p, depth}, nil
		}
		if e.Len == 0 {
			return Layer{e, p, depth}, nil
		}
		if p == n && e.State.Has(formats.EOF) {
			end = off + e.Len
		}
		length = e.Len
		if e.State.Has(formats.Allocated) {
			return Layer{mark(e, off, end), p, depth}, nil
		}
		if p.Below() == nil || p.Below() == base {
			return Layer{mark(e, off, end), nil, depth}, nil
		}
		if p.Filtered() == nil {
			depth++
		}
	}
	return Layer{Extent: formats.Extent{Len: length}}, nil
}

// mark keeps the EOF flag only where the run ends at the end of the node that was asked.
func mark(e formats.Extent, off, end int64) formats.Extent {
	e.State &^= formats.EOF
	if off+e.Len == end {
		e.State |= formats.EOF
	}
	return e
}
