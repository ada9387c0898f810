package qcow

import (
	"context"
	"math"
	"syscall"

	"platter/formats"
	"platter/formats/internal/tablecache"
)

// load gives a table out of its cache, or out of the file. The lock is held.
func (d *image) load(ctx context.Context, c *tablecache.Cache, off int64) (*tablecache.Table, error) {
	if t := c.Find(off); t != nil {
		return t, nil
	}
	raw := make([]byte, c.TableSize())
	if c == d.l2 {
		d.events.Raise(formats.EventL2Load)
	}
	if err := d.file.ReadAt(ctx, raw, off); err != nil {
		return nil, err
	}
	return c.Insert(off, raw), nil
}

// l1At gives the part of the L1 table that covers guest offset off, and the index in it. The lock is held.
func (d *image) l1At(ctx context.Context, off int64) (*tablecache.Table, int, error) {
	k := off >> (d.head.clusterBits + d.head.l2Bits)
	t, err := d.load(ctx, d.l1, int64(d.head.l1Offset)+k*8/l1Page*l1Page)
	return t, int(k % (l1Page / 8)), err
}

// l2At gives the L2 table for guest offset off, nil if there is none. The lock is held.
func (d *image) l2At(ctx context.Context, off int64) (*tablecache.Table, error) {
	t, k, err := d.l1At(ctx, off)
	if err != nil {
		return nil, err
	}
	at := t.Get(k)
	switch {
	case at == 0:
		return nil, nil
	case at > uint64(math.MaxInt64-d.l2.TableSize()):
		return nil, syscall.EIO
	}
	return d.load(ctx, d.l2, int64(at))
}

// l2Index is the place of guest offset off in its L2 table.
func (d *image) l2Index(off int64) int {
	return int(off >> d.head.clusterBits & (1<<d.head.l2Bits - 1))
}

// entry gives the L2 entry for guest offset off, checked; 0 if the cluster is not allocated. The lock is held.
func (d *image) entry(ctx context.Context, off int64) (uint64, error) {
	t, err := d.l2At(ctx, off)
	if err != nil || t == nil {
		return 0, err
	}
	e := t.Get(d.l2Index(off))
	if e&flagCompressed == 0 && (e%sectorSize != 0 || e > uint64(math.MaxInt64-d.clusterSize)) {
		return 0, syscall.EIO
	}
	return e, nil
}

// compressedAt takes a descriptor apart: where the stream is, and how many bytes it has.
func (d *image) compressedAt(entry uint64) (off, n int64) {
	shift := 63 - d.head.clusterBits
	return int64(entry & (1<<shift - 1)), int64(entry >> shift & uint64(d.clusterSize-1))
}

// take allocates n bytes at the end of the file, on a cluster boundary if aligned. The lock is held.
func (d *image) take(n int64, aligned bool) (int64, error) {
	at := max(d.end, d.file.Size())
	if aligned {
		at = (at + d.clusterSize - 1) &^ (d.clusterSize - 1)
	}
	if at > 1<<(63-d.head.clusterBits)-1-n {
		return 0, syscall.EFBIG
	}
	d.end = at + n
	return at, nil
}

// ownL2 gives the L2 table for guest offset off, making one if there is none. The lock is held.
func (d *image) ownL2(ctx context.Context, off int64) (*tablecache.Table, error) {
	t, err := d.l2At(ctx, off)
	if err != nil || t != nil {
		return t, err
	}
	page, k, err := d.l1At(ctx, off)
	if err != nil {
		return nil, err
	}
	at, err := d.take(d.l2.TableSize(), true)
	if err == nil && !d.events.Heard() {
		// A full disk fails this request, and not the flush, by which time data that only the table leads to was acknowledged.
		err = d.file.WriteZeroes(ctx, at, d.l2.TableSize(), 0)
	}
	if err != nil {
		return nil, err
	}
	t = d.l2.Insert(at, nil)
	d.l2.MarkDirty(t, 0, t.Len())
	d.l1.Set(page, k, uint64(at))
	return t, nil
}

// link sets the entries of count clusters from guest offset off on: entry, and what follows it in the file. They share
// an L2 table, which exists. The lock is held.
func (d *image) link(ctx context.Context, off int64, count int, entry uint64) error {
	t, err := d.l2At(ctx, off)
	if err != nil {
		return err
	}
	vals := make([]uint64, count)
	for k := range vals {
		vals[k] = entry + uint64(int64(k)*d.clusterSize)
	}
	d.l2.Set(t, d.l2Index(off), vals...)
	return nil
}

// Flush makes data, then L2 tables, then the L1 table durable.
func (d *image) Flush(ctx context.Context) error { return d.flush(context.WithoutCancel(ctx)) }

func (d *image) flush(ctx context.Context) error {
	d.flushing.Lock()
	defer d.flushing.Unlock()
	d.mu.Lock()
	l2, l1 := d.l2.TakeDirty(sectorSize), d.l1.TakeDirty(8)
	d.mu.Unlock()
	err := d.file.Flush(ctx)
	for k, parts := range [][]tablecache.Part{l2, l1} {
		if err == nil && len(parts) > 0 {
			err = d.writeParts(ctx, parts, []formats.Event{formats.EventL2Update, formats.EventL1Update}[k])
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.l2.PutBack(l2)
		d.l1.PutBack(l1)
		return err
	}
	d.l2.Written(l2)
	d.l1.Written(l1)
	return nil
}

func (d *image) writeParts(ctx context.Context, parts []tablecache.Part, ev formats.Event) error {
	for _, p := range parts {
		d.events.Raise(ev)
		if err := d.file.WriteAt(ctx, p.Data, p.Off, 0); err != nil {
			return err
		}
	}
	return d.file.Flush(ctx)
}

// MakeEmpty drops all clusters and cuts the file behind the L1 table.
func (d *image) MakeEmpty(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	off, n := int64(d.head.l1Offset), d.head.l1Entries*8
	d.l1.DropAll()
	d.l2.DropAll()
	if err := zeroL1(ctx, d.file, off, n); err != nil {
		return err
	}
	if err := d.file.Flush(ctx); err != nil {
		return err
	}
	if err := d.file.Truncate(ctx, off+n, 0); err != nil {
		return err
	}
	d.end = off + n
	d.decoded = newDecoded()
	return nil
}
