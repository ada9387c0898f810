package bitmap

import (
	"math/rand/v2"
	"testing"
)

// TestAgainstBytes compares every operation with the same one on a slice of booleans.
func TestAgainstBytes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int64{1, 511, 512, 32768, 32769, 100_001} {
		b, model := New(size, 512), make([]bool, (size+511)/512)
		for range 300 {
			off, n := rng.Int64N(size), 1+rng.Int64N(size)
			set := rng.IntN(3) > 0
			if n = min(n, size/4+1); set {
				b.Set(off, n)
			} else {
				b.Clear(off, n)
			}
			for i := off / 512; i <= min(off+n-1, size-1)/512; i++ {
				model[i] = set
			}
		}
		var count int64
		for i, want := range model {
			if b.Get(int64(i)*512) != want {
				t.Fatalf("size %d: granule %d is %v", size, i, !want)
			}
			if want {
				count += 512
			}
		}
		if b.Count() != count {
			t.Errorf("size %d: Count %d, want %d", size, b.Count(), count)
		}
		coarse := New(size, 4096)
		coarse.Merge(b)
		runs := make([]bool, len(model))
		for off, n := b.Next(0); n > 0; off, n = b.Next(off + n) {
			for i := off / 512; i < (off+n+511)/512; i++ {
				runs[i] = true
			}
		}
		for i := range model {
			if runs[i] != model[i] {
				t.Fatalf("size %d: Next misses or invents granule %d", size, i)
			}
			if model[i] && !coarse.Get(int64(i)*512) {
				t.Fatalf("size %d: merged bitmap lacks granule %d", size, i)
			}
		}
	}
}

func TestResize(t *testing.T) {
	b := New(1<<20, 65536)
	b.Set(0, 1<<20)
	b.Resize(300_000)
	b.Resize(1 << 20)
	if start, n := b.Next(0); start != 0 || n != 327_680 {
		t.Errorf("after shrinking and growing: first run %d+%d, want 0+327680", start, n)
	}
	if b.Get(400_000) {
		t.Error("what was added is dirty")
	}
}

func TestOutside(t *testing.T) {
	b := New(1000, 512)
	b.Set(-5, 10)
	b.Set(1000, 1)
	b.Set(990, 1<<40)
	if b.Count() != 512 {
		t.Errorf("Count %d, want 512", b.Count())
	}
	if _, n := b.Next(5000); n != 0 {
		t.Error("a run past the end")
	}
}
