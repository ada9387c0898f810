package tablecache

import (
	"encoding/binary"
	"sync/atomic"
)

// Table is one cached table. Its words change only under the owner's lock.
type Table struct {
	off   int64
	words []uint64
	next  atomic.Pointer[Table] // in its hash bucket
	seq   atomic.Uint32         // odd while words change
	used  atomic.Bool           // looked up since the clock hand passed
	gone  bool                  // no longer in the cache

	dirty  bool
	busy   bool // handed out by TakeDirty, not yet in the file
	lo, hi int  // changed words [lo, hi)
}

// Off is the table's offset in the file in bytes.
func (t *Table) Off() int64 { return t.off }

// Len is the number of words.
func (t *Table) Len() int { return len(t.words) }

// Dirty reports whether the table differs from the file. Owner only.
func (t *Table) Dirty() bool { return t.dirty }

// Get reads a word.
func (t *Table) Get(i int) uint64 { return atomic.LoadUint64(&t.words[i]) }

// Begin starts reading words that must belong together.
func (t *Table) Begin() uint32 {
	for {
		if s := t.seq.Load(); s&1 == 0 {
			return s
		}
	}
}

// Consistent reports whether no word has changed since Begin returned s.
func (t *Table) Consistent(s uint32) bool { return t.seq.Load() == s }

// Cache holds tables of one size.
type Cache struct {
	words   int
	limit   int // tables
	buckets []atomic.Pointer[Table]
	all     []*Table
	hand    int
	dirty   int
}

// New makes a cache for tables of size bytes, a multiple of 8, of which about limit are kept.
func New(size, limit int) *Cache {
	limit = max(limit, 2)
	n := 16
	for n < limit {
		n <<= 1
	}
	return &Cache{words: size / 8, limit: limit, buckets: make([]atomic.Pointer[Table], n)}
}

// TableSize is the size of a table in bytes.
func (c *Cache) TableSize() int64 { return int64(c.words) * 8 }

// Limit is the number of tables that are kept.
func (c *Cache) Limit() int { return c.limit }

// Dirty is the number of tables that differ from the file. Owner only.
func (c *Cache) Dirty() int { return c.dirty }

func (c *Cache) bucket(off int64) *atomic.Pointer[Table] {
	h := uint64(off) * 0x9e3779b97f4a7c15
	return &c.buckets[h>>32&uint64(len(c.buckets)-1)]
}

// Find returns the table at off, nil if it is not cached. Anyone may call it.
func (c *Cache) Find(off int64) *Table {
	for t := c.bucket(off).Load(); t != nil; t = t.next.Load() {
		if t.off == off {
			if !t.used.Load() {
				t.used.Store(true)
			}
			return t
		}
	}
	return nil
}

// Insert adds the table at off with raw as its content (big-endian words; nil for zeroes), which is clean. Owner only.
func (c *Cache) Insert(off int64, raw []byte) *Table {
	t := &Table{off: off, words: make([]uint64, c.words)}
	for i := range t.words {
		if raw == nil {
			break
		}
		t.words[i] = binary.BigEndian.Uint64(raw[i*8:])
	}
	c.Drop(off)
	c.add(t)
	return t
}

// add puts t into the cache in place of a clean table that was not used lately, if it is full.
func (c *Cache) add(t *Table) {
	t.gone = false
	t.used.Store(true)
	b := c.bucket(t.off)
	t.next.Store(b.Load())
	b.Store(t)
	if len(c.all) >= c.limit {
		for range 2 * len(c.all) {
			c.hand = (c.hand + 1) % len(c.all)
			old := c.all[c.hand]
			if old.dirty || old.busy || old.used.Swap(false) {
				continue
			}
			c.unlink(old)
			c.all[c.hand] = t
			return
		}
	}
	c.all = append(c.all, t)
}

func (c *Cache) unlink(t *Table) {
	t.gone = true
	for p := c.bucket(t.off); p.Load() != nil; p = &p.Load().next {
		if p.Load() == t {
			p.Store(t.next.Load())
			return
		}
	}
}

// Drop forgets the table at off, changed or not. Owner only.
func (c *Cache) Drop(off int64) {
	t := c.Find(off)
	if t == nil {
		return
	}
	c.clean(t)
	c.unlink(t)
	for i, o := range c.all {
		if o == t {
			last := len(c.all) - 1
			c.all[i], c.all[last] = c.all[last], nil
			c.all = c.all[:last]
			return
		}
	}
}

// DropAll forgets everything. Owner only.
func (c *Cache) DropAll() {
	for _, t := range c.all {
		t.gone, t.dirty = true, false
	}
	for i := range c.buckets {
		c.buckets[i].Store(nil)
	}
	c.all, c.hand, c.dirty = nil, 0, 0
}

// DropIdle forgets the clean tables that were not looked up since the last call. Owner only.
func (c *Cache) DropIdle() {
	kept := c.all[:0]
	for _, t := range c.all {
		if t.dirty || t.busy || t.used.Swap(false) {
			kept = append(kept, t)
		} else {
			c.unlink(t)
		}
	}
	clear(c.all[len(kept):])
	c.all, c.hand = kept, 0
}

// Set changes words from index i on. Owner only. A table that was dropped from the cache since it was looked up is put
// back; another copy of it that was loaded meanwhile is changed instead.
func (c *Cache) Set(t *Table, i int, vals ...uint64) {
	if t.gone {
		if now := c.Find(t.off); now != nil {
			t = now
		} else {
			c.add(t)
		}
	}
	t.seq.Add(1)
	for k, v := range vals {
		atomic.StoreUint64(&t.words[i+k], v)
	}
	t.seq.Add(1)
	c.MarkDirty(t, i, i+len(vals))
}

// MarkDirty says that words [lo, hi) must be written. Owner only.
func (c *Cache) MarkDirty(t *Table, lo, hi int) {
	if !t.dirty {
		t.dirty, t.lo, t.hi = true, lo, hi
		c.dirty++
		return
	}
	t.lo, t.hi = min(t.lo, lo), max(t.hi, hi)
}

func (c *Cache) clean(t *Table) {
	if t.dirty {
		t.dirty = false
		c.dirty--
	}
}

// Part is a changed part of a table, encoded.
type Part struct {
	Off   int64 // byte offset of Data in the file
	Data  []byte
	Table *Table
}

// TakeDirty returns what has changed, in no order, widened to whole multiples of unit bytes (a power of two that
// divides the table size), and marks it clean. The tables stay in the cache until the parts are given back: with Written,
// or with PutBack if they did not all reach the file. Owner only.
func (c *Cache) TakeDirty(unit int) []Part {
	if c.dirty == 0 {
		return nil
	}
	parts := make([]Part, 0, c.dirty)
	step := unit / 8
	for _, t := range c.all {
		if !t.dirty {
			continue
		}
		lo, hi := t.lo/step*step, min((t.hi+step-1)/step*step, len(t.words))
		data := make([]byte, (hi-lo)*8)
		for i, w := range t.words[lo:hi] {
			binary.BigEndian.PutUint64(data[i*8:], w)
		}
		parts = append(parts, Part{t.off + int64(lo)*8, data, t})
		c.clean(t)
		t.busy = true
	}
	return parts
}

// Written says that the parts are in the file. Owner only.
func (c *Cache) Written(parts []Part) {
	for _, p := range parts {
		p.Table.busy = false
	}
}

// PutBack marks parts that could not be written as changed again, except those of tables that were dropped. Owner only.
func (c *Cache) PutBack(parts []Part) {
	for _, p := range parts {
		p.Table.busy = false
		if !p.Table.gone {
			lo := int(p.Off-p.Table.off) / 8
			c.MarkDirty(p.Table, lo, lo+len(p.Data)/8)
		}
	}
}
