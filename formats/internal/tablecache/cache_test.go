package tablecache

import (
	"encoding/binary"
	"testing"
)

func table(v uint64) []byte {
	raw := make([]byte, 512)
	for k := 0; k < len(raw); k += 8 {
		binary.BigEndian.PutUint64(raw[k:], v)
	}
	return raw
}

func TestFindsWhatWasInserted(t *testing.T) {
	c := New(512, 4)
	c.Insert(4096, table(7))
	if got := c.Find(4096); got == nil || got.Get(63) != 7 || got.Off() != 4096 || got.Len() != 64 {
		t.Errorf("found %+v", got)
	}
	if c.Find(512) != nil {
		t.Error("found what was never inserted")
	}
	c.Drop(4096)
	if c.Find(4096) != nil {
		t.Error("found what was dropped")
	}
}

func TestDirtyTablesStay(t *testing.T) {
	c := New(512, 4)
	for off := int64(0); off < 8*512; off += 512 {
		c.Set(c.Insert(off, nil), 3, uint64(off))
	}
	for off := int64(8 * 512); off < 64*512; off += 512 {
		c.Insert(off, nil)
	}
	if c.Dirty() != 8 {
		t.Errorf("%d tables are dirty, want 8", c.Dirty())
	}
	for off := int64(0); off < 8*512; off += 512 {
		if got := c.Find(off); got == nil || got.Get(3) != uint64(off) {
			t.Errorf("the change of the table at %d is gone", off)
		}
	}
	if n := len(c.all); n > 12 {
		t.Errorf("%d tables are kept, the limit is 4 clean ones", n)
	}
}

func TestTakeDirtyWidensAndGivesBack(t *testing.T) {
	c := New(4096, 4)
	c.Set(c.Insert(8192, nil), 65, 1, 2)
	parts := c.TakeDirty(512)
	if len(parts) != 1 || parts[0].Off != 8192+512 || len(parts[0].Data) != 512 {
		t.Fatalf("parts %+v", parts)
	}
	if binary.BigEndian.Uint64(parts[0].Data[8:]) != 1 || binary.BigEndian.Uint64(parts[0].Data[16:]) != 2 {
		t.Error("the words are not in the part")
	}
	if c.Dirty() != 0 || c.TakeDirty(512) != nil {
		t.Error("taken twice")
	}
	c.PutBack(parts)
	if again := c.TakeDirty(512); len(again) != 1 || again[0].Off != parts[0].Off {
		t.Errorf("put back: %+v", again)
	}
}

// A table that was handed out must not be dropped and loaded again before what was handed out is in the file.
func TestHandedOutTablesStay(t *testing.T) {
	c := New(512, 2)
	c.Set(c.Insert(0, nil), 0, 9)
	parts := c.TakeDirty(512)
	for off := int64(512); off < 32*512; off += 512 {
		c.Insert(off, nil)
	}
	c.DropIdle()
	c.DropIdle()
	if got := c.Find(0); got == nil || got.Get(0) != 9 {
		t.Fatal("dropped while it was being written")
	}
	c.Written(parts)
	c.DropIdle()
	c.DropIdle()
	if c.Find(0) != nil {
		t.Error("kept although nobody uses it")
	}
}

func TestSetOnADroppedTableIsNotLost(t *testing.T) {
	c := New(512, 2)
	old := c.Insert(0, nil)
	for off := int64(512); off < 16*512; off += 512 {
		c.Insert(off, nil)
	}
	if c.Find(0) != nil {
		t.Fatal("still cached: the test needs a larger flood")
	}
	c.Set(old, 1, 5)
	if got := c.Find(0); got == nil || got.Get(1) != 5 {
		t.Error("the change went to a table that nobody finds")
	}
}
