package formatstest

import (
	"bytes"
	"context"
	"errors"
	"syscall"
	"testing"

	"platter/formats"
)

// Contract tests what package formats asks of every driver.
func Contract(t *testing.T, s Subject) {
	ctx := context.Background()
	store := s.create(t)
	s.check(t, store, false, "new image")
	n := s.mustOpen(t, store, readWrite)
	size := n.Size()
	if size < s.size() {
		t.Errorf("Size %d, created with %d", size, s.size())
	}
	all := make([]byte, size)
	if err := n.ReadAt(ctx, all, 0); err != nil {
		t.Fatalf("read of the whole new image: %v", err)
	}
	if len(bytes.TrimLeft(all, "\x00")) > 0 {
		t.Error("a new image does not read as zeroes")
	}
	if l := n.Limits(); l.Align&(l.Align-1) != 0 || l.ZeroAlign&(l.ZeroAlign-1) != 0 {
		t.Errorf("limits are no powers of two: %+v", l)
	}
	checkStatus(t, n, size)
	mark := []byte("the end")
	if err := n.WriteAt(ctx, mark, size-int64(len(mark)), 0); err != nil {
		t.Errorf("write at the end: %v", err)
	}
	if err := n.WriteAt(ctx, mark, size-1, 0); !errors.Is(err, syscall.EIO) {
		t.Errorf("write over the end: %v, want EIO", err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if err := n.ReadAt(canceled, mark, 0); err == nil {
		t.Error("a read under a canceled context succeeds")
	}
	checkStatus(t, n, size)
	mustClose(t, n)
	s.check(t, store, false, "after the first write")

	before := store.Bytes(s.base())
	n = s.mustOpen(t, store, 0)
	got := make([]byte, len(mark))
	if err := n.ReadAt(ctx, got, size-int64(len(mark))); err != nil || !bytes.Equal(got, mark) {
		t.Errorf("after reopening: %q, %v", got, err)
	}
	if err := n.WriteAt(ctx, mark, 0, 0); !errors.Is(err, syscall.EPERM) {
		t.Errorf("write to a read-only image: %v, want EPERM", err)
	}
	mustClose(t, n)
	if !bytes.Equal(before, store.Bytes(s.base())) {
		t.Error("opening an image read-only changed its file")
	}
}

// checkStatus walks the extents and holds them against the rules: they cover the image without gap, zeroes read as
// zeroes, and plain data is found where the extent says.
func checkStatus(t *testing.T, n formats.File, size int64) {
	t.Helper()
	ctx := context.Background()
	for off := int64(0); off < size; {
		e, err := n.Status(ctx, off, size-off)
		if err != nil {
			t.Fatalf("Status at %d: %v", off, err)
		}
		if e.Len <= 0 || off+e.Len > size {
			t.Fatalf("Status at %d: length %d of %d", off, e.Len, size-off)
		}
		got := make([]byte, e.Len)
		if err := n.ReadAt(ctx, got, off); err != nil {
			t.Fatalf("read at %d: %v", off, err)
		}
		if e.State.Has(formats.Zero) && len(bytes.TrimLeft(got, "\x00")) > 0 {
			t.Errorf("extent at %d+%d is called zero and is not", off, e.Len)
		}
		if e.State.Has(formats.Data) && e.Where != nil && !e.State.Has(formats.Zero) {
			there := make([]byte, e.Len)
			if err := e.Where.ReadAt(ctx, there, e.Offset); err != nil || !bytes.Equal(there, got) {
				t.Errorf("extent at %d+%d is not what stands at %d of its child (%v)", off, e.Len, e.Offset, err)
			}
		}
		off += e.Len
	}
}
