package qcow2

import (
	"math/rand/v2"
	"testing"
)

// TestCounts holds packed counts to a plain slice, over all widths and limits.
func TestCounts(t *testing.T) {
	for _, most := range []int{2, 5, 20, 300} {
		rng := rand.New(rand.NewPCG(1, uint64(most)))
		c, want := newCounts(1000, most%7, 250), make([]uint64, 9000)
		for range 60000 {
			k := rng.Int64N(int64(len(want)))
			switch rng.IntN(4) {
			case 0:
				v := uint64(rng.IntN(most))
				c.set(k, v)
				want[k] = v
			default:
				if ok := c.add(k); ok != (want[k] < 250) {
					t.Fatalf("add to %d: %v", want[k], ok)
				} else if ok {
					want[k]++
				}
			}
		}
		for k, v := range want {
			if got := c.get(int64(k)); got != v {
				t.Fatalf("up to %d: count %d is %d, want %d", most, k, got, v)
			}
		}
		first := c.take(10, 100)
		for k := range int64(10) {
			if c.get(first+k) != 1 || first+k < int64(len(want)) && want[first+k] != 0 {
				t.Fatalf("taken at %d", first+k)
			}
		}
		if c.get(1<<40) != 0 {
			t.Error("a count behind the end")
		}
		c.reset()
		if c.get(5) != 0 || c.len() < 9000 {
			t.Error("reset")
		}
	}
}
