package tools

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"syscall"

	"platter/chain"
	"platter/formats"
	"platter/formats/qerr"
	"platter/tools/copier"
)

// CommitOptions says which image to commit, and into which file below it.
type CommitOptions struct {
	Source
	Base *string // nil: the immediate backing file
	Drop bool    // leave the image as it is afterwards, instead of emptying it
	Rate int64   // bytes a second; 0: no limit
	// Attach: the image can be read afterwards, for those who go on using it, where a format refers to the content of the
	// backing file. QEMU leaves such an image unreadable.
	Attach bool
	Meter  *Meter
}

// copyUnit is how much commit and rebase move at once, in bytes.
const copyUnit = 2 << 20

// Commit writes what an image and the layers between hold into a file of its backing chain.
func Commit(ctx context.Context, env *Env, o CommitOptions) (err error) {
	n, err := o.Source.Open(ctx, env, formats.ReadWrite|formats.Unmap)
	if err != nil {
		return err
	}
	defer closing(env, n, &err)
	o.Meter.Advance(0, 100)
	return CommitNode(ctx, env, n, o)
}

// CommitNode is Commit for an open image, whose other users wait meanwhile; o.Source counts only as a name in messages.
// Everything is on stable storage below before the image gives anything up, so that a loss of power at any moment
// leaves its content what it was.
func CommitNode(ctx context.Context, env *Env, n *chain.Node, o CommitOptions) error {
	return n.Alone(func(n *chain.Node) error {
		overlay, err := commitInto(n, o)
		if err != nil {
			return err
		}
		adopter, ok := formats.As[formats.Adopter](overlay.Unwrap())
		adopts := ok && o.Attach
		if adopts && overlay.ReadOnly() {
			return qerr.New(syscall.EOPNOTSUPP, "'%s' is open for reading only, and would not fit its backing file any more once that is written",
				overlay.Filename())
		}
		if err := overlay.ReopenBacking(ctx, env, true); err != nil {
			return err
		}
		if adopts {
			err = overlay.Exclusive(func() error { return adopter.AdoptBacking(context.WithoutCancel(ctx)) })
		}
		if err == nil {
			err = commit(ctx, n, overlay.Backing(), o)
		}
		if e := overlay.ReopenBacking(context.WithoutCancel(ctx), env, false); err == nil {
			err = e
		}
		return err
	})
}

// commitInto finds the layer whose backing file is to take the data.
func commitInto(n *chain.Node, o CommitOptions) (*chain.Node, error) {
	top := n.SkipFilters()
	if o.Base != nil {
		if overlay := findOverlay(top, *o.Base); overlay != nil {
			return overlay, nil
		}
		return nil, qerr.New(syscall.ENOENT, "Did not find '%s' in the backing chain of '%s'", *o.Base, o.Filename)
	}
	if top == nil || top.Backing() == nil {
		return nil, qerr.New(syscall.EINVAL, "Image does not have a backing file")
	}
	return top, nil
}

func commit(ctx context.Context, n, base *chain.Node, o CommitOptions) error {
	if err := commitData(ctx, n, base, o); err != nil {
		o.Meter.stay()
		return qerr.Errno(qerr.Of(err), "Block job failed")
	}
	o.Meter.Advance(100, 0)
	if o.Drop {
		return nil
	}
	e, ok := formats.As[formats.Emptier](n.SkipFilters().Unwrap())
	if !ok {
		return nil
	}
	err := n.SkipFilters().Exclusive(func() error { return e.MakeEmpty(ctx) })
	if errors.Is(err, syscall.ENOTSUP) {
		return nil
	}
	if err != nil {
		return qerr.Prepend(err, "Failed to empty %s: ", storedIn(n.SkipFilters()).Filename())
	}
	return n.Flush(ctx)
}

// commitData copies into base what the layers above it hold, and flushes it.
func commitData(ctx context.Context, n, base *chain.Node, o CommitOptions) error {
	size := n.Size()
	o.Meter.whole(size)
	if size > base.Size() {
		if err := base.Truncate(ctx, size, formats.PreallocOff); err != nil {
			return err
		}
	}
	limit, granule, off, done := newLimiter(o.Rate), commitGranule(ctx, base), int64(0), int64(0)
	err := copier.Run(ctx, copier.Job{
		Buffer: copyUnit, Ordered: true,
		Next: func(ctx context.Context) (copier.Piece, error) {
			p, err := nextToCommit(ctx, n, base, off, size, granule)
			off += p.Len
			return p, err
		},
		Load: func(ctx context.Context, p copier.Piece, buf []byte, _ *copier.Scratch) error {
			if p.Kind != copier.Data {
				return nil
			}
			return n.ReadAt(ctx, buf, p.Off)
		},
		Store: func(ctx context.Context, p copier.Piece, buf []byte, _ *copier.Scratch, _ *formats.Turn) (err error) {
			switch p.Kind {
			case copier.Data:
				if err = limit.wait(ctx, p.Len); err == nil {
					err = base.WriteAt(ctx, buf, p.Off, 0)
				}
			case copier.Zero:
				err = base.WriteZeroes(ctx, p.Off, p.Len, formats.MayUnmap)
			}
			done += p.Len
			o.Meter.Advance(100*float32(done)/float32(size), 0)
			return err
		},
	})
	if err != nil {
		return err
	}
	return base.Flush(ctx)
}

// commitGranule is the unit, in bytes, in which base is written: smaller pieces of a cluster are not worth a decision.
func commitGranule(ctx context.Context, base *chain.Node) int64 {
	const least, most = 4 << 10, 64 << 10
	if info, err := NodeInfo(ctx, base); err == nil && info.ClusterSize > 0 {
		return min(max(info.ClusterSize, least), most)
	}
	return most
}

// nextToCommit describes the run at off, which begins a granule: what the layers above base hold there is to be written
// to base. A granule that is not of one kind is copied as a whole if they hold any of it.
func nextToCommit(ctx context.Context, n, base *chain.Node, off, size, granule int64) (copier.Piece, error) {
	p := copier.Piece{Off: off, Kind: copier.Leave}
	if off >= size {
		return p, io.EOF
	}
	l, err := n.StatusAbove(ctx, base, off, size-off)
	if err != nil {
		return p, err
	}
	if p.Len = l.Len; off+l.Len < size {
		p.Len -= l.Len % granule
	}
	switch {
	case p.Len == 0:
		p.Len = min(granule, size-off)
		held, err := holdsAny(ctx, n, base, off, p.Len)
		if held {
			p.Kind = copier.Data
		}
		return p, err
	case l.Node == nil:
	case l.State.Has(formats.Zero):
		p.Kind = copier.Zero
	default:
		p.Kind, p.Len = copier.Data, min(p.Len, copyUnit)
	}
	return p, nil
}

// holdsAny says whether n, or a layer between it and base, holds any part of a range.
func holdsAny(ctx context.Context, n, base *chain.Node, off, length int64) (bool, error) {
	for length > 0 {
		l, err := n.AllocatedAbove(ctx, base, off, length)
		if err != nil || l.Node != nil || l.Len == 0 {
			return l.Node != nil, err
		}
		off, length = off+l.Len, length-l.Len
	}
	return false, nil
}

// findOverlay finds the layer from top downwards whose backing file goes by that name: as the image states it, as it is
// shown, or as the same file of the host. nil if there is none.
func findOverlay(top *chain.Node, name string) *chain.Node {
	for n := top; n != nil && n.Backing() != nil; n = n.Backing().SkipFilters() {
		if isBacking(n, name) {
			return n
		}
	}
	return nil
}

func isBacking(n *chain.Node, name string) bool {
	b, ok := formats.As[formats.Backed](n.Unwrap())
	if !ok {
		return false
	}
	stated, _ := b.BackingFile()
	full, err := n.FullBackingName()
	if n.BackingOverridden() {
		return n.Backing().SkipFilters().Filename() == name
	}
	if hasProtocol(name) || hasProtocol(stated) {
		return name == stated || err == nil && name == full
	}
	if err != nil {
		return false
	}
	wanted, err := n.Resolve(name)
	if err != nil {
		return false
	}
	a, err1 := filepath.EvalSymlinks(wanted)
	c, err2 := filepath.EvalSymlinks(full)
	a, _ = filepath.Abs(a)
	c, _ = filepath.Abs(c)
	return err1 == nil && err2 == nil && a == c
}

// hasProtocol says whether a name begins with a protocol's prefix.
func hasProtocol(name string) bool {
	i := strings.IndexAny(name, ":/")
	return i >= 0 && name[i] == ':'
}

// storedIn is the node that holds n's bytes; messages name it.
func storedIn(n *chain.Node) *chain.Node {
	if f := n.File(); f != nil {
		return f
	}
	return n
}
