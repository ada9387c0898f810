package vhdx

import (
	"context"
	"sync"
	"sync/atomic"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// The states of payload blocks (section 2.5.1.1), and of sector bitmap blocks (2.5.1.2: 0 and 6).
const (
	stateNotPresent = 0 // of a differencing image: the parent's
	stateUndefined  = 1
	stateZero       = 2
	stateUnmapped   = 3
	stateUnmapped95 = 5 // of files made by version 0.95
	statePresent    = 6
	statePartial    = 7

	stateMask  = 7
	offsetMask = ^uint64(mib - 1)
)

// image is an open VHDX.
type image struct {
	file     formats.File
	env      *formats.Env
	heads    headers
	regions  regions
	taken    spans
	head     *metadata
	parent   formats.File
	replayed bool // opening replayed the log
	inMemory bool // opening for reading replayed the log over file
	writable bool
	fixed    bool // made with all blocks present
	flags    formats.OpenFlags

	commit sync.Mutex // for the headers and the log
	log    journal

	begun atomic.Bool // the headers say that the image has been written

	grow sync.Mutex
	end  int64 // of the file, a multiple of 1 MiB

	mu      sync.Mutex
	free    sync.Cond // pending changed
	meta    sectors
	pending map[int64]bool // blocks being allocated
}

func (d *image) Size() int64 { return int64(d.head.size) &^ 511 }

// Limits: a bit stands for a logical sector, so differencing images are written in those; QEMU's driver works in sectors
// of 512 bytes.
func (d *image) Limits() formats.Limits {
	l := formats.Limits{Align: 512, ZeroInit: !d.fixed || d.file.Limits().ZeroInit}
	if d.head.parent != nil {
		l.Align, l.ZeroInit = d.head.logical, false
	}
	return l
}

// payloadAt and bitmapAt are the places of BAT entries in the file.
func (d *image) payloadAt(block int64) int64 {
	return d.regions.bat + (block+block/d.head.ratio)*8
}

func (d *image) bitmapAt(block int64) int64 {
	chunk := block / d.head.ratio
	return d.regions.bat + (chunk*(d.head.ratio+1)+d.head.ratio)*8
}

// kind says where a run of bytes is.
type kind uint8

const (
	isZero kind = iota
	isHere
	isParent
)

// run is a part of the disk of one kind, within one block.
type run struct {
	kind  kind
	host  int64 // isHere: byte offset in the file
	n     int64
	state uint64 // of its block
}

// find describes the run at off, at most n bytes. mu is held.
func (d *image) find(ctx context.Context, off, n int64) (run, error) {
	bs := d.head.blockSize
	inside := off % bs
	entry, err := d.meta.word(ctx, d.payloadAt(off/bs))
	if err != nil {
		return run{}, err
	}
	r := run{n: min(n, bs-inside), state: entry & stateMask, host: int64(entry&offsetMask) + inside}
	switch r.state {
	case statePresent:
		r.kind = isHere
	case statePartial:
		return d.findPartial(ctx, off, r)
	case stateNotPresent:
		if d.head.parent != nil {
			r.kind = isParent
		}
	case stateUndefined, stateZero, stateUnmapped, stateUnmapped95:
	default:
		return r, syscall.EIO
	}
	return r, nil
}

// findPartial asks the sector bitmap.
func (d *image) findPartial(ctx context.Context, off int64, r run) (run, error) {
	if d.head.parent == nil {
		return r, syscall.EIO
	}
	at, err := d.bitmap(ctx, off/d.head.blockSize)
	if err != nil {
		return r, err
	}
	size := d.head.logical
	first, inside := off/size%chunkSectors, off%size
	here, sectors, err := d.meta.bits(ctx, at, first, (inside+r.n+size-1)/size)
	if err != nil {
		return r, err
	}
	r.n = min(r.n, sectors*size-inside)
	r.kind = isParent
	if here {
		r.kind = isHere
	}
	return r, nil
}

// bitmap gives the place of the sector bitmap block that holds a block's bits; a block cannot be partially present
// without one.
func (d *image) bitmap(ctx context.Context, block int64) (int64, error) {
	entry, err := d.meta.word(ctx, d.bitmapAt(block))
	if err != nil {
		return 0, err
	}
	if entry&stateMask != statePresent || entry&offsetMask < mib {
		return 0, qerr.New(syscall.EIO, "VHDX block %d is partially present and has no sector bitmap", block)
	}
	return int64(entry & offsetMask), nil
}

// longest is find, going on over blocks that follow in the file as well. mu is held.
func (d *image) longest(ctx context.Context, off, n int64) (run, error) {
	r, err := d.find(ctx, off, n)
	for err == nil && r.n < n {
		next, err := d.find(ctx, off+r.n, n-r.n)
		if err != nil || next.kind != r.kind || r.kind == isHere && next.host != r.host+r.n {
			break // an error belongs to the bytes behind this run
		}
		r.n += next.n
	}
	return r, err
}

func (d *image) ReadAt(ctx context.Context, p []byte, off int64) error {
	for len(p) > 0 {
		d.mu.Lock()
		r, err := d.longest(ctx, off, int64(len(p)))
		d.mu.Unlock()
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

// readParent reads what the parent has; behind its end are zeroes.
func (d *image) readParent(ctx context.Context, p []byte, off int64) error {
	if d.parent == nil {
		return qerr.New(syscall.EIO, "VHDX parent is not open")
	}
	n := max(min(int64(len(p)), d.parent.Size()-off), 0)
	clear(p[n:])
	if n == 0 {
		return nil
	}
	return d.parent.ReadAt(ctx, p[:n], off)
}

// Status of an image without a parent is all data for who expects QEMU, whose driver cannot tell.
func (d *image) Status(ctx context.Context, off, n int64) (formats.Extent, error) {
	if d.head.parent == nil && !d.env.Beyond {
		return formats.Extent{Len: n, State: formats.Data}, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	r, err := d.longest(ctx, off, n)
	e := formats.Extent{Len: r.n}
	switch {
	case err != nil:
		return e, err
	case r.kind == isHere && d.inMemory: // some of the bytes are not where they seem to be
		e.State = formats.Data
	case r.kind == isHere:
		e.State, e.Where, e.Offset = formats.Data, d.file, r.host
	case r.kind == isZero:
		e.State = formats.Zero
	}
	return e, nil
}

// Info is what QEMU tells of a VHDX.
func (d *image) Info(context.Context) (formats.Info, error) {
	return formats.Info{ClusterSize: d.head.blockSize}, nil
}

// Specific is nothing.
func (d *image) Specific(context.Context) (string, *qobj.Dict, error) { return "", nil, nil }

// Close writes what is not yet in the file and marks the log as empty.
func (d *image) Close() error {
	if !d.writable {
		return nil
	}
	ctx := context.Background()
	if err := d.Flush(ctx); err != nil || !d.begun.Load() {
		return err
	}
	return d.finish(ctx)
}
