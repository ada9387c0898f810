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
	file   formats.File
	head   *header
	static bool

	mu        sync.Mutex
	free      sync.Cond // pending changed
	table     *blockmap.Map
	allocated uint32          // blocks handed out: the next to allocate
	headDirty bool            // allocated is not in the file yet
	pending   map[uint32]bool // blocks being allocated
}

func (d *image) Size() int64 { return int64(d.head.diskSize) }

// Limits: a static image is made of a file whose blocks all exist, so it is zero as far as the file is.
func (d *image) Limits() formats.Limits {
	return formats.Limits{ZeroInit: !d.static || d.file.Limits().ZeroInit}
}

// where gives the offset in the file of block b; ok is false if it has none.
func (d *image) where(ctx context.Context, b uint32) (off int64, ok bool, err error) {
	e, err := d.table.Get(ctx, b)
	if err != nil || e >= discarded {
		return 0, false, err
	}
	return int64(d.head.offsetData) + int64(e)*blockSize, true, nil
}

// run finds the longest run from off, at most n bytes, that is contiguous in the file or all unallocated.
func (d *image) run(ctx context.Context, off, n int64) (host, length int64, ok bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.runLocked(ctx, off, n)
}

func (d *image) runLocked(ctx context.Context, off, n int64) (host, length int64, ok bool, err error) {
	start, ok, err := d.where(ctx, uint32(off/blockSize))
	if err != nil {
		return 0, 0, false, err
	}
	inside := off % blockSize
	length = min(blockSize-inside, n)
	for length < n {
		next, nextOK, err := d.where(ctx, uint32((off+length)/blockSize))
		if err != nil {
			return 0, 0, false, err
		}
		if nextOK != ok || ok && next != start+inside+length {
			break
		}
		length += min(blockSize, n-length)
	}
	return start + inside, length, ok, nil
}

func (d *image) ReadAt(ctx context.Context, p []byte, off int64) error {
	for len(p) > 0 {
		host, n, ok, err := d.run(ctx, off, int64(len(p)))
		if err != nil {
			return err
		}
		if ok {
			err = d.file.ReadAt(ctx, p[:n], host)
		} else {
			clear(p[:n])
		}
		if err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// Status stops at every block, as QEMU's driver does; the callers merge.
func (d *image) Status(ctx context.Context, off, n int64) (formats.Extent, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n = min(n, blockSize-off%blockSize)
	host, n, ok, err := d.runLocked(ctx, off, n)
	switch {
	case err != nil:
		return formats.Extent{}, err
	case !ok:
		return formats.Extent{Len: n, State: formats.Zero}, nil
	}
	e := formats.Extent{Len: n, State: formats.Data, Where: d.file, Offset: host}
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
