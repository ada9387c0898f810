package qed

import (
	"context"
	"sync"
	"sync/atomic"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// image is an open QED.
type image struct {
	file        formats.File
	events      formats.Events
	backing     formats.File
	backingName string
	writable    bool
	size        atomic.Int64

	flushing sync.Mutex

	mu      sync.Mutex
	settled sync.Cond // pending changed
	head    header
	tables  *tables
	end     int64          // where the next cluster is allocated
	pending map[int64]bool // clusters of the disk being allocated
	marked  bool           // need-check was set by this image
}

// Values of L2 entries that are no offsets.
const (
	unallocated = 0
	zeroCluster = 1
)

func (d *image) cluster() int64 { return int64(d.head.ClusterSize) }

func (d *image) Size() int64 { return d.size.Load() }

// Limits: a new image reads as zeroes.
func (d *image) Limits() formats.Limits {
	return formats.Limits{ZeroAlign: d.cluster(), ZeroInit: true}
}

// BackingFile gives what the header says: a raw backing file, or one of any format.
func (d *image) BackingFile() (name, format string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.backingName != "" && d.head.Features&featNoProbe != 0 {
		format = "raw"
	}
	return d.backingName, format
}

// SetBacking attaches or detaches the backing file.
func (d *image) SetBacking(f formats.File) error {
	d.backing = f
	return nil
}

// entryAt gives the place in the file of cluster c's L2 entry; 0 if it has no L2 table.
func (d *image) entryAt(ctx context.Context, c int64) (int64, error) {
	n := d.head.tableBytes() / 8
	l2, err := d.tables.get(ctx, int64(d.head.L1Offset)+c/n*8)
	if err != nil || l2 == unallocated {
		return 0, err
	}
	if !d.head.tableFits(l2, d.end) {
		return 0, qerr.New(syscall.EINVAL, "entry %d of the QED L1 table is invalid: 0x%x", c/n, l2)
	}
	return int64(l2) + c%n*8, nil
}

// entry gives the L2 entry of cluster c.
func (d *image) entry(ctx context.Context, c int64) (uint64, error) {
	at, err := d.entryAt(ctx, c)
	if err != nil || at == 0 {
		return unallocated, err
	}
	e, err := d.tables.get(ctx, at)
	if err == nil && e > zeroCluster && !d.head.clusterFits(e, d.end) {
		err = qerr.New(syscall.EINVAL, "the entry of cluster %d in its QED L2 table is invalid: 0x%x", c, e)
	}
	return e, err
}

// run is a range of the disk that is of one kind, and contiguous in the file.
type run struct {
	kind uint64 // unallocated, zeroCluster, or anything else: data
	host int64  // place of the data in the file
	n    int64  // bytes
}

// find gives the longest run at off, at most n bytes and not beyond what one L2 table maps.
func (d *image) find(ctx context.Context, off, n int64) (run, error) {
	size, span := d.cluster(), d.head.tableSpan()
	n = min(n, span-off%span)
	c, inside := off/size, off%size
	first, err := d.entry(ctx, c)
	if err != nil {
		return run{}, err
	}
	r := run{kind: first, n: min(size-inside, n)}
	if first > zeroCluster {
		r.host = int64(first) + inside
	}
	for want := first; r.n < n; {
		c++
		if first > zeroCluster {
			want += uint64(size)
		}
		e, err := d.entry(ctx, c)
		// A damaged entry is reported when its turn comes.
		if err != nil || e != want {
			break
		}
		r.n += min(size, n-r.n)
	}
	return r, nil
}

func (d *image) ReadAt(ctx context.Context, p []byte, off int64) error {
	for len(p) > 0 {
		d.mu.Lock()
		r, err := d.find(ctx, off, int64(len(p)))
		d.mu.Unlock()
		if err != nil {
			return err
		}
		switch {
		case r.kind > zeroCluster:
			d.events.Raise(formats.EventRead)
			err = d.file.ReadAt(ctx, p[:r.n], r.host)
		case r.kind == unallocated:
			err = d.readBacking(ctx, p[:r.n], off)
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

// readBacking reads what shows through: the backing file, and zeroes behind its end.
func (d *image) readBacking(ctx context.Context, p []byte, off int64) error {
	known := int64(0)
	if d.backing != nil {
		known = min(max(d.backing.Size()-off, 0), int64(len(p)))
	}
	clear(p[known:])
	if known == 0 {
		return nil
	}
	d.events.Raise(formats.EventReadBacking)
	return d.backing.ReadAt(ctx, p[:known], off)
}

// Status stops at the end of what an L2 table maps, as QEMU's driver does.
func (d *image) Status(ctx context.Context, off, n int64) (formats.Extent, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, err := d.find(ctx, off, n)
	switch {
	case err != nil:
		return formats.Extent{}, err
	case r.kind == unallocated:
		return formats.Extent{Len: r.n}, nil
	case r.kind == zeroCluster:
		return formats.Extent{Len: r.n, State: formats.Zero}, nil
	}
	return formats.Extent{Len: r.n, State: formats.Data, Where: d.file, Offset: r.host}, nil
}

// Info is what QEMU tells of a QED.
func (d *image) Info(context.Context) (formats.Info, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return formats.Info{ClusterSize: d.cluster(), Dirty: d.head.Features&featNeedCheck != 0}, nil
}

// Specific is nothing.
func (d *image) Specific(context.Context) (string, *qobj.Dict, error) { return "", nil, nil }
