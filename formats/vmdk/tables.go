package vmdk

import (
	"container/list"
	"context"

	"platter/formats"
	"platter/formats/qerr"
)

const (
	// pageEntries is how many entries of a grain directory are loaded together.
	pageEntries = 1024
	// maxTables bounds the bytes of tables that are kept although they need not be written: 16 MiB stand for 256 GiB
	// of disk in grains of 64 KiB.
	maxTables = 16 << 20
)

// table is a grain table, or a part of a directory, in memory.
type table struct {
	key    tableKey
	raw    []byte
	lo, hi int   // changed bytes [lo, hi)
	page   bool  // part of a directory
	copyAt int64 // of a grain table's copy, in bytes; 0 for none
	busy   bool  // what was changed is on its way to the file
	place  *list.Element
}

type tableKey struct {
	extent int
	off    int64 // in the extent's file, in bytes
	n      int64 // bytes
}

func (t *table) entry(e *extent, i int64) []byte { return t.raw[i*int64(e.width):][:e.width] }

func (t *table) dirty() bool { return t.lo < t.hi }

// tables keeps the tables of all extents; the image's mu guards it.
type tables struct {
	all     map[tableKey]*table
	changed map[tableKey]*table
	order   list.List // front: used last
	bytes   int64
}

// page loads the part of a directory that holds entry number.
func (c *tables) page(ctx context.Context, e *extent, directory, number int64) (*table, error) {
	first := number / pageEntries * pageEntries
	t, err := c.load(ctx, e, directory+first*int64(e.width), min(pageEntries, e.directoryLen-first))
	if err == nil {
		t.page = true
	}
	return t, err
}

// load gives the table of that many entries at off, read if it is not there.
func (c *tables) load(ctx context.Context, e *extent, off, entries int64) (*table, error) {
	k := tableKey{e.index, off, entries * int64(e.width)}
	if t := c.all[k]; t != nil {
		c.order.MoveToFront(t.place)
		return t, nil
	}
	t := &table{key: k, raw: make([]byte, k.n)}
	e.events.Raise(formats.EventL2Load)
	if err := e.file.ReadAt(ctx, t.raw, off); err != nil {
		return nil, qerr.Prepend(err, "Could not read a grain table of '%s': ", nameOf(e.file))
	}
	c.insert(t)
	return t, nil
}

// insert adds a table and drops those that were used longest ago, if they are not to be written.
func (c *tables) insert(t *table) {
	c.all[t.key] = t
	t.place = c.order.PushFront(t)
	c.bytes += t.key.n
	for p := c.order.Back(); p != nil && c.bytes > maxTables && p != t.place; {
		old := p.Value.(*table)
		p = p.Prev()
		if old.dirty() || old.busy {
			continue
		}
		c.order.Remove(old.place)
		delete(c.all, old.key)
		c.bytes -= old.key.n
	}
}

// mark says that the bytes [lo, hi) of a table must be written.
func (c *tables) mark(t *table, lo, hi int) {
	if t.dirty() {
		lo, hi = min(t.lo, lo), max(t.hi, hi)
	}
	t.lo, t.hi = lo, hi
	c.changed[t.key] = t
}
