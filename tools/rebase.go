package tools

import (
	"bytes"
	"context"
	"errors"
	"syscall"

	"platter/chain"
	"platter/formats"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// RebaseOptions says which image is to stand on what.
type RebaseOptions struct {
	Source                // ForceShare holds for the new backing file, which alone is opened only for reading
	Backing       *string // "": no backing file; nil (only if Unsafe): as ""
	BackingFormat *string
	BackingCache  Cache
	Unsafe        bool // change the reference only, whatever the image then reads as
	Compress      bool // write compressed clusters
	Attach        bool // the open image stands on the new backing file afterwards, for those who go on using it
	Meter         *Meter
}

// Rebase gives an image another backing file. Unless o.Unsafe, what differs between the old and the new one is copied
// into the image first, so that its content stays.
func Rebase(ctx context.Context, env *Env, o RebaseOptions) (err error) {
	o.Meter.Advance(0, 100)
	flags := formats.ReadWrite
	if o.Unsafe {
		flags |= formats.NoBacking
	}
	s := o.Source
	s.ForceShare = false
	n, err := s.Open(ctx, env, flags)
	if err != nil {
		return err
	}
	defer closing(env, n, &err)
	return RebaseNode(ctx, env, n, o)
}

// RebaseNode is Rebase for an open image, whose other users wait meanwhile; o.Source counts only as a name in messages.
// The copied data is on stable storage before the reference changes, and the reference when this returns: at every
// loss of power the image reads as before. Unless o.Attach the node itself keeps its backing file, whose content is the
// same; it must not be committed then.
func RebaseNode(ctx context.Context, env *Env, n *chain.Node, o RebaseOptions) error {
	return n.Alone(func(n *chain.Node) error {
		r := rebaser{o: o, n: n.SkipFilters()}
		if _, ok := formats.As[formats.CompressedWriter](r.n.Unwrap()); o.Compress && !ok {
			return qerr.New(syscall.ENOTSUP, "Compression not supported for this file format")
		}
		if o.BackingFormat != nil && env.Registry.Find(*o.BackingFormat) == nil {
			return qerr.New(syscall.EINVAL, "Invalid format name: '%s'", *o.BackingFormat)
		}
		info, err := NodeInfo(ctx, r.n)
		if err != nil {
			return qerr.New(qerr.Of(err), "could not get block driver info")
		}
		if !o.Unsafe {
			if err := r.copy(ctx, env, info); err != nil {
				return err
			}
		}
		var next *chain.Node
		if o.Attach {
			if next, err = r.openNext(ctx, env); err != nil {
				return err
			}
		}
		if err = r.change(ctx); err == nil && o.Attach {
			next, err = r.n.SetBacking(next)
		}
		if next != nil { // the former one, or the one that was not needed
			err = errors.Join(err, next.Close())
		}
		o.Meter.Advance(100, 0)
		return err
	})
}

// rebaser is a rebase under way.
type rebaser struct {
	o      RebaseOptions
	n      *chain.Node // the image, below any filters
	old    *chain.Node // backing files, nil if there is none
	new    *chain.Node
	prefix bool  // new is part of the chain below n
	align  int64 // unit in which the image is best written
	oldBuf []byte
	newBuf []byte
}

// copy writes into the image what the new backing file would show otherwise.
func (r *rebaser) copy(ctx context.Context, env *Env, info formats.Info) error {
	r.old = r.n.Backing()
	if err := r.openNew(ctx, env); err != nil {
		return err
	}
	if r.new != nil && !r.prefix {
		defer r.new.Close()
	}
	if r.align = max(info.SubclusterSize, 1); r.o.Compress {
		r.align = max(info.ClusterSize, 1)
	}
	r.oldBuf, r.newBuf = make([]byte, copyUnit), make([]byte, copyUnit)
	size := r.n.Size()
	r.o.Meter.whole(size)
	step := float32(100)
	if size > 0 {
		step = 100 / float32(size/min(size, copyUnit))
	}
	for off := int64(0); off < size; {
		n, differs, err := r.extent(ctx, off, min(copyUnit, size-off))
		if err != nil {
			return qerr.New(qerr.Of(err), "error while reading image metadata: %s", qerr.Strerror(qerr.Of(err)))
		}
		if !differs {
			off += n
			continue
		}
		end := min(roundUp(off+n, r.align), size)
		off -= off % r.align
		// An alignment that divides the unit keeps the range within the buffers.
		end = min(end, off+copyUnit)
		if err := r.compare(ctx, off, end-off); err != nil {
			return err
		}
		off = end
		r.o.Meter.Advance(step, 100)
	}
	return r.n.Flush(ctx)
}

// openNew finds the new backing file in the chain, or opens it.
func (r *rebaser) openNew(ctx context.Context, env *Env) error {
	if r.o.Backing == nil || *r.o.Backing == "" {
		return nil
	}
	full, err := chain.ResolveBacking(r.n.Filename(), *r.o.Backing)
	if err != nil {
		return qerr.Prepend(err, "Could not resolve backing filename: ")
	}
	if overlay := findOverlay(r.n, full); overlay != nil {
		r.new, r.prefix = overlay.Backing(), true
		return nil
	}
	req := chain.Request{Filename: full, Flags: r.o.BackingCache.Flags()}
	if r.o.BackingFormat != nil {
		req.Format = *r.o.BackingFormat
	}
	if r.o.ForceShare {
		req.Options = qobj.NewDict()
		req.Options.Set("force-share", true)
	}
	r.new, err = chain.Open(ctx, env, req)
	return qerr.Prepend(err, "Could not open new backing file '%s': ", *r.o.Backing)
}

// openNext opens the new backing file for the image that goes on, before anything refers to it; nil if there is none.
func (r *rebaser) openNext(ctx context.Context, env *Env) (*chain.Node, error) {
	if r.o.Backing == nil || *r.o.Backing == "" {
		return nil, nil
	}
	full, err := chain.ResolveBacking(r.n.Filename(), *r.o.Backing)
	if err != nil {
		return nil, qerr.Prepend(err, "Could not resolve backing filename: ")
	}
	req := chain.Request{Filename: full, Flags: r.n.Flags() &^ (formats.ReadWrite | formats.Resize)}
	if r.o.BackingFormat != nil {
		req.Format = *r.o.BackingFormat
	}
	n, err := chain.Open(ctx, env, req)
	return n, qerr.Prepend(err, "Could not open new backing file '%s': ", *r.o.Backing)
}

// extent says whether the run at off may read otherwise with the new backing file, and how long the run is.
func (r *rebaser) extent(ctx context.Context, off, n int64) (length int64, differs bool, err error) {
	e, err := r.n.IsAllocated(ctx, off, n)
	if err != nil || e.State.Has(formats.Allocated) {
		return e.Len, false, err
	}
	if !r.prefix {
		return e.Len, true, nil
	}
	if r.old == nil || off >= r.old.Size() {
		return e.Len, true, nil
	}
	l, err := r.old.AllocatedAbove(ctx, r.new, off, e.Len)
	if err != nil {
		return 0, false, err
	}
	if l.Len == 0 {
		return e.Len, true, nil
	}
	return l.Len, l.Node != nil, nil
}

// compare reads both backing files and writes what differs.
func (r *rebaser) compare(ctx context.Context, off, n int64) error {
	a, b := r.oldBuf[:n], r.newBuf[:n]
	held, err := readUpToEnd(ctx, r.old, a, off)
	if err != nil {
		return qerr.New(qerr.Of(err), "error while reading from old backing file")
	}
	if _, err := readUpToEnd(ctx, r.new, b, off); err != nil {
		return qerr.New(qerr.Of(err), "error while reading from new backing file")
	}
	for at := int64(0); at < n; {
		run, differs := differing(a[at:], b[at:], max(r.align, 512))
		if differs {
			if at >= held {
				err = r.n.WriteZeroes(ctx, off+at, run, 0)
			} else {
				err = r.write(ctx, a[at:at+run], off+at)
			}
			if err != nil {
				return qerr.New(qerr.Of(err), "Error while writing to COW image: %s", qerr.Strerror(qerr.Of(err)))
			}
		}
		at += run
	}
	return nil
}

func (r *rebaser) write(ctx context.Context, p []byte, off int64) error {
	if !r.o.Compress {
		return r.n.WriteAt(ctx, p, off, 0)
	}
	for len(p) > 0 {
		k := min(int64(len(p)), r.align)
		if err := r.n.WriteCompressed(ctx, p[:k], off); err != nil {
			return err
		}
		p, off = p[k:], off+k
	}
	return nil
}

// readUpToEnd reads what n holds at off; past its end, or without n, there are zeroes. It gives the length read.
func readUpToEnd(ctx context.Context, n *chain.Node, p []byte, off int64) (int64, error) {
	var held int64
	if n != nil {
		held = max(min(int64(len(p)), n.Size()-off), 0)
	}
	clear(p[held:])
	if held == 0 {
		return 0, nil
	}
	return held, n.ReadAt(ctx, p[:held], off)
}

// differing says whether the first unit of a and b differs, and how long the run of units is that are alike in that.
func differing(a, b []byte, unit int64) (run int64, differs bool) {
	first := min(unit, int64(len(a)))
	differs = !bytes.Equal(a[:first], b[:first])
	for run = first; run < int64(len(a)); {
		k := min(unit, int64(len(a))-run)
		if !bytes.Equal(a[run:run+k], b[run:run+k]) != differs {
			break
		}
		run += k
	}
	return run, differs
}

// change rewrites the reference.
func (r *rebaser) change(ctx context.Context) error {
	name, format, shown := "", "", "(null)"
	if r.o.Backing != nil {
		name, shown = *r.o.Backing, *r.o.Backing
	}
	if r.o.BackingFormat != nil && name != "" {
		format = *r.o.BackingFormat
	}
	err := r.rewrite(ctx, name, format)
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return qerr.New(syscall.ENOSPC, "Could not change the backing file to '%s': No space left in the file header", shown)
	case errors.Is(err, syscall.EINVAL) && r.o.Backing != nil && r.o.BackingFormat == nil:
		return qerr.New(syscall.EINVAL, "Could not change the backing file to '%s': backing format must be specified", shown)
	case err != nil:
		return qerr.Errno(qerr.Of(err), "Could not change the backing file to '%s'", shown)
	}
	return nil
}

func (r *rebaser) rewrite(ctx context.Context, name, format string) error {
	if name != "" && r.o.BackingFormat == nil {
		return syscall.EINVAL
	}
	c, ok := formats.As[formats.Rebacker](r.n.Unwrap())
	if !ok {
		return syscall.ENOTSUP
	}
	if err := r.n.Exclusive(func() error { return c.ChangeBacking(ctx, name, format) }); err != nil {
		return err
	}
	return r.n.Flush(ctx)
}

func roundUp(v, to int64) int64 { return (v + to - 1) / to * to }
