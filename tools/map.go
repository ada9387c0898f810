package tools

import (
	"context"

	"platter/chain"
	"platter/formats"
	"platter/formats/qerr"
)

// MapOptions says what of which image is to be mapped.
type MapOptions struct {
	Source      Source
	StartOffset int64        // bytes
	MaxLength   int64        // bytes; -1: to the end
	Opened      func() error // called when the image is open, before the first run; may be nil
}

// MapEntry is a run of the image that is of one kind.
type MapEntry struct {
	Start, Length int64 // bytes of the guest disk
	Depth         int   // the layer that decides; 0 is the image itself
	Present       bool  // a layer has it
	Zero, Data    bool
	Compressed    bool
	HasOffset     bool
	Offset        int64  // where it lies in File, in bytes, if HasOffset
	File          string // name of the file, "" if there is none
}

// Map gives the image's runs to emit, one after the other; last is set on the last one. There is always at least one.
func Map(ctx context.Context, env *Env, o MapOptions, emit func(e MapEntry, last bool) error) (err error) {
	n, err := o.Source.Open(ctx, env, 0)
	if err != nil {
		return err
	}
	defer closing(env, n, &err)
	if o.Opened != nil {
		if err := o.Opened(); err != nil {
			return err
		}
	}
	return MapNode(ctx, n, o, emit)
}

// MapNode is Map for an open image.
func MapNode(ctx context.Context, n *chain.Node, o MapOptions, emit func(e MapEntry, last bool) error) error {
	end := n.Size()
	if o.MaxLength >= 0 && o.MaxLength < end-o.StartOffset {
		end = o.StartOffset + o.MaxLength
	}
	m := mapper{names: map[*chain.Node]string{}}
	cur := MapEntry{Start: o.StartOffset}
	for off := cur.Start; off < end; {
		next, err := m.entry(ctx, n, off, end-off)
		if err != nil {
			return qerr.Prepend(bare(err), "Could not read file metadata: ")
		}
		off += next.Length
		switch {
		case cur.continues(next):
			cur.Length += next.Length
			continue
		case cur.Length > 0:
			if err := emit(cur, false); err != nil {
				return err
			}
		}
		cur = next
	}
	return emit(cur, true)
}

// continues reports whether next goes on with what e is.
func (e MapEntry) continues(next MapEntry) bool {
	if e.Length == 0 || e.HasOffset && e.Offset+e.Length != next.Offset {
		return false
	}
	e.Start, e.Length, e.Offset = next.Start, next.Length, next.Offset
	return e == next
}

// mapper remembers the names of files, which take work to make.
type mapper struct{ names map[*chain.Node]string }

// entry describes the run at off as the first layer sees it that decides.
func (m mapper) entry(ctx context.Context, n *chain.Node, off, length int64) (MapEntry, error) {
	e := MapEntry{Start: off, Length: length}
	for depth := 0; ; depth++ {
		n = n.SkipFilters()
		s, err := n.Status(ctx, off, e.Length)
		if err != nil {
			return e, err
		}
		e.Length, e.Depth = s.Len, depth
		if s.State&(formats.Data|formats.Zero) == 0 {
			if n.Backing() != nil {
				n = n.Backing()
				continue
			}
			return e, nil
		}
		e.Present, e.Compressed = s.State.Has(formats.Allocated), s.State.Has(formats.Compressed)
		e.Zero, e.Data = s.State.Has(formats.Zero), s.State.Has(formats.Data)
		if s.Where != nil {
			e.HasOffset, e.Offset, e.File = true, s.Offset, m.name(s.Where)
		}
		return e, nil
	}
}

func (m mapper) name(f formats.File) string {
	n, ok := f.(*chain.Node)
	if !ok {
		return ""
	}
	name, ok := m.names[n]
	if !ok {
		name = n.Filename()
		m.names[n] = name
	}
	return name
}
