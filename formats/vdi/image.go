package vdi

import (
	"context"
	"sync"

	"platter/formats"
	"platter/formats/internal/blockmap"
	"platter/formats/qobj"
)

// image is an open VDI.
type image struct {
	name   string
	env    *formats.Env
	file   formats.File
	head   *header
	static bool

	backing formats.File // of a differencing image

	mu        sync.Mutex
	free      sync.Cond // pending changed
	table     *blockmap.Map
	allocated uint32          // blocks handed out: the next to allocate
	headDirty bool            // allocated, or the stamp, is not in the file yet
	stamped   bool            // of a differencing image: it has a new stamp
	pending   map[uint32]bool // blocks being allocated …
	placing   map[uint32]bool // … and their places
}

func (d *image) Size() int64 { return int64(d.head.diskSize) }

// Limits: a static image is made of a file whose blocks all exist, so it is zero as far as the file is.
func (d *image) Limits() formats.Limits {
	return formats.Limits{ZeroInit: !d.head.differencing() && (!d.static || d.file.Limits().ZeroInit)}
}

// kind says where the bytes of a block are.
type kind uint8

const (
	isZero kind = iota
	isHere
	isParent
)

// run is a part of the disk of one kind.
type run struct {
	kind kind
	host int64 // isHere: byte offset in the file
	n    int64
}

// where finds block b.
func (d *image) where(ctx context.Context, b uint32) (k kind, off int64, err error) {
	switch e, err := d.table.Get(ctx, b); {
	case err != nil:
		return 0, 0, err
	case e == unallocated && d.head.differencing():
		return isParent, 0, nil
	case e >= discarded:
		return isZero, 0, nil
	default:
		return isHere, int64(d.head.offsetData) + int64(e)*blockSize, nil
	}
}

// run finds the longest run from off, at most n bytes: what is in the file follows one another there.
func (d *image) run(ctx context.Context, off, n int64) (run, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.runLocked(ctx, off, n)
}

func (d *image) runLocked(ctx context.Context, off, n int64) (run, error) {
	k, start, err := d.where(ctx, uint32(off/blockSize))
	if err != nil {
		return run{}, err
	}
	inside := off % blockSize
	r := run{k, start + inside, min(blockSize-inside, n)}
	for r.n < n {
		k, next, err := d.where(ctx, uint32((off+r.n)/blockSize))
		if err != nil {
			return run{}, err
		}
		if k != r.kind || k == isHere && next != r.host+r.n {
			break
		}
		r.n += min(blockSize, n-r.n)
	}
	return r, nil
}

func (d *image) ReadAt(ctx context.Context, p []byte, off int64) error {
	for len(p) > 0 {
		r, err := d.run(ctx, off, int64(len(p)))
		switch {
		case err != nil:
		case r.kind == isHere:
			err = d.file.ReadAt(ctx, p[:r.n], r.host)
		case r.kind == isParent:
			err = d.readParent(ctx, p[:r.n], off)
		default:
			clear(p[:r.n])
		}
		if err != nil {
			return err
		}
		p, off = p[r.n:], off+r.n
	}
	return nil
}

// Status stops at every block, as QEMU's driver does; the callers merge.
func (d *image) Status(ctx context.Context, off, n int64) (formats.Extent, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, err := d.runLocked(ctx, off, min(n, blockSize-off%blockSize))
	switch {
	case err != nil:
		return formats.Extent{}, err
	case r.kind == isParent:
		return formats.Extent{Len: r.n}, nil
	case r.kind == isZero:
		return formats.Extent{Len: r.n, State: formats.Zero}, nil
	}
	e := formats.Extent{Len: r.n, State: formats.Data, Where: d.file, Offset: r.host}
	if d.static {
		e.State |= formats.Recurse
	}
	return e, nil
}

// Info is what QEMU tells of a VDI.
func (d *image) Info(context.Context) (formats.Info, error) {
	return formats.Info{ClusterSize: blockSize}, nil
}

// Specific is nothing.
func (d *image) Specific(context.Context) (string, *qobj.Dict, error) { return "", nil, nil }

// Close writes what is not yet in the file.
func (d *image) Close() error {
	return d.flush(context.Background())
}
