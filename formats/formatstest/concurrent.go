package formatstest

import (
	"bytes"
	"context"
	"math/rand/v2"
	"sync"
	"testing"

	"platter/formats"
)

// Concurrent lets several writers work on stripes of their own that share clusters, beside readers and flushers. Run
// it under the race detector.
func Concurrent(t *testing.T, s Subject) {
	const writers, stripe = 4, 1536
	ctx := context.Background()
	store := s.create(t)
	n := s.mustOpen(t, store, readWrite)
	size := n.Size() / (writers * stripe) * (writers * stripe)
	want := make([]byte, size)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 11))
			for range 150 {
				off := (rng.Int64N(size/(writers*stripe))*writers + int64(w)) * stripe
				k := 1 + rng.Int64N(stripe)
				p := bytes.Repeat([]byte{byte(1 + rng.IntN(255))}, int(k))
				var err error
				if rng.IntN(5) == 0 {
					clear(p)
					err = n.WriteZeroes(ctx, off, k, formats.MayUnmap)
				} else {
					err = n.WriteAt(ctx, p, off, 0)
				}
				if err != nil {
					t.Errorf("writer %d at %d+%d: %v", w, off, k, err)
					return
				}
				copy(want[off:], p)
				got := make([]byte, k)
				if err := n.ReadAt(ctx, got, off); err != nil || !bytes.Equal(got, p) {
					t.Errorf("writer %d does not read back what it wrote at %d+%d (%v)", w, off, k, err)
					return
				}
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			p := make([]byte, 256<<10)
			for i := range 40 {
				if err := n.ReadAt(ctx, p, int64(i)*7919%(size-int64(len(p)))); err != nil {
					t.Errorf("reader: %v", err)
				}
				if err := n.Flush(ctx); err != nil {
					t.Errorf("flush: %v", err)
				}
			}
		})
	}
	wg.Wait()
	mustClose(t, n)
	s.check(t, store, false, "after concurrent writes")
	n = s.mustOpen(t, store, 0)
	defer mustClose(t, n)
	got := make([]byte, size)
	if err := n.ReadAt(ctx, got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("content differs at %d (%v)", firstDifference(got, want), err)
	}
}
