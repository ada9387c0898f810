package formatstest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"platter/formats"
)

// Faults lets the n-th read, write or flush fail, once and for good, with EIO and ENOSPC, in a short workload. The
// error must be reported, nothing may panic, and what was written and flushed before must still be there; what check
// finds afterwards may be leaks, never corruption.
func Faults(t *testing.T, s Subject) {
	created := s.create(t)
	for _, op := range []Op{OpRead, OpWrite, OpFlush} {
		for _, once := range []bool{true, false} {
			for after := 0; after < 60; after += 1 + after/8 {
				errno := []syscall.Errno{syscall.EIO, syscall.ENOSPC}[after%2]
				f := &Fault{Op: op, After: after, Once: once, Errno: errno}
				name := fmt.Sprintf("op %d after %d once %v %v", op, after, once, errno)
				if faulted := s.faulted(t, created.Clone(), f, name); !faulted {
					break
				}
				if t.Failed() {
					t.Fatal(name)
				}
			}
		}
	}
}

// faulted runs the workload over a new image under one fault and reports whether the fault struck.
func (s Subject) faulted(t *testing.T, store *Store, f *Fault, name string) bool {
	ctx := context.Background()
	n := s.mustOpen(t, store, readWrite)
	safe := bytes.Repeat([]byte("safe"), 1024)
	if err := n.WriteAt(ctx, safe, 8192, 0); err != nil {
		t.Fatal(err)
	}
	if err := n.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	store.SetFault(f)
	rng := rand.New(rand.NewPCG(uint64(f.After), 3))
	failed := false
	note := func(err error) { failed = failed || err != nil }
	for i := range 12 {
		off := 64<<10 + rng.Int64N(n.Size()-(200<<10))
		p := bytes.Repeat([]byte{byte(i + 1)}, int(1+rng.Int64N(100<<10)))
		switch i % 4 {
		case 0, 1:
			note(n.WriteAt(ctx, p, off, 0))
		case 2:
			note(n.WriteZeroes(ctx, off, int64(len(p)), formats.MayUnmap))
		default:
			note(n.ReadAt(ctx, p, off))
			note(n.Flush(ctx))
		}
	}
	note(n.Flush(ctx))
	note(n.Close())
	store.SetFault(nil)
	if s.Recovers {
		s.recover(t, store)
	}
	if f.Hits() > 0 && !failed {
		t.Errorf("%s: the failure was swallowed", name)
	}
	s.check(t, store, true, name)
	r := s.mustOpen(t, store, 0)
	defer r.Close()
	got := make([]byte, len(safe))
	if err := r.ReadAt(ctx, got, 8192); err != nil || !bytes.Equal(got, safe) {
		t.Errorf("%s: flushed data is gone (%v)", name, err)
	}
	return f.Hits() > 0
}
