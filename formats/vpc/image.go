package vpc

import (
	"context"
	"sync"

	"platter/formats"
	"platter/formats/internal/blockmap"
	"platter/formats/qobj"
)

const unallocated = 0xffffffff

// Places of the dynamic header's fields.
const (
	headSize      = 1024
	atTable       = 16
	atHeadVersion = 24
	atEntries     = 28
	atBlockSize   = 32
	atHeadSum     = 36
	atParentUUID  = 40
	atParentTime  = 56
	atParentName  = 64
	atLocators    = 576
)

// image is an open VHD.
type image struct {
	name    string
	file    formats.File
	backing formats.File
	env     *formats.Env
	foot    footer
	head    [headSize]byte
	kind    uint32
	size    int64
	block   int64 // bytes of a block's data
	bitmap  int64 // bytes of its bitmap, in whole sectors

	mu       sync.Mutex
	freed    sync.Cond // pending has changed
	table    *blockmap.Map
	end      int64 // where the next block goes
	tableEnd int64
	virgin   int64 // from here on the file was never written
	footAt   int64 // where the footer was written last, 0 if not by us
	pending  map[uint32]bool
	changed  bool // the footer and the table must be written
	present  bitmaps

	shared sync.RWMutex // held by who writes a part of what a byte of a sector bitmap stands for
}

func (d *image) Size() int64 { return d.size }

// Limits: sectors, since bitmaps know no less. Blocks that are not there read as zeroes.
func (d *image) Limits() formats.Limits {
	l := formats.Limits{Align: sectorSize, ZeroInit: true}
	if d.kind == typeFixed {
		l.ZeroInit = d.file.Limits().ZeroInit
	} else {
		l.ZeroAlign = d.block
	}
	return l
}

// Info tells the block size.
func (d *image) Info(context.Context) (formats.Info, error) {
	return formats.Info{ClusterSize: d.block}, nil
}

// Specific is nothing.
func (d *image) Specific(context.Context) (string, *qobj.Dict, error) { return "", nil, nil }

// run is a range of the disk of one kind.
type run struct {
	n      int64
	stored bool
	host   int64 // where the bytes are, if stored
}

// find gives the longest run at off that does not leave its block. mu is not held.
func (d *image) find(ctx context.Context, off, n int64) (run, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, err := d.table.Get(ctx, uint32(off/d.block))
	if err != nil {
		return run{}, err
	}
	inside := off % d.block
	r := run{n: min(n, d.block-inside)}
	if e == unallocated {
		return r, nil
	}
	at := int64(e) * sectorSize
	if d.kind == typeDifferencing {
		return d.findSectors(ctx, at, inside, r.n)
	}
	r.stored, r.host = true, at+d.bitmap+inside
	return r, nil
}

func (d *image) ReadAt(ctx context.Context, p []byte, off int64) error {
	if d.kind == typeFixed {
		return d.file.ReadAt(ctx, p, off)
	}
	for len(p) > 0 {
		r, err := d.find(ctx, off, int64(len(p)))
		if err != nil {
			return err
		}
		if r.stored {
			err = d.file.ReadAt(ctx, p[:r.n], r.host)
		} else {
			err = d.readBehind(ctx, p[:r.n], off)
		}
		if err != nil {
			return err
		}
		p, off = p[r.n:], off+r.n
	}
	return nil
}

// readBehind reads what the image does not hold: the parent's content, or zeroes.
func (d *image) readBehind(ctx context.Context, p []byte, off int64) error {
	n := int64(0)
	if d.backing != nil {
		n = max(min(int64(len(p)), d.backing.Size()-off), 0)
	}
	clear(p[n:])
	if n == 0 {
		return nil
	}
	return d.backing.ReadAt(ctx, p[:n], off)
}

// Status joins blocks that are not there, and stops behind each that is: its neighbour is not next to it in the file.
func (d *image) Status(ctx context.Context, off, n int64) (formats.Extent, error) {
	if d.kind == typeFixed {
		return formats.Extent{Len: n, State: formats.Raw, Where: d.file, Offset: off}, nil
	}
	r, err := d.find(ctx, off, n)
	if err != nil {
		return formats.Extent{}, err
	}
	if r.stored {
		return formats.Extent{Len: r.n, State: formats.Data, Where: d.file, Offset: r.host}, nil
	}
	e := formats.Extent{Len: r.n}
	if d.backing == nil {
		e.State = formats.Zero
	}
	for e.Len < n {
		next, err := d.find(ctx, off+e.Len, n-e.Len)
		if err != nil || next.stored {
			return e, nil
		}
		e.Len += next.n
	}
	return e, nil
}
