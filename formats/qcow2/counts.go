package qcow2

// counts is the number of references to each cluster, as check counts them: a byte each, and a map for the few that
// have more than a byte holds. A 1 TiB image of 64 KiB clusters takes 16 MiB.
type counts struct {
	small []uint8
	large map[int64]uint64 // where small is full
	limit uint64           // the largest refcount that the image can store
}

const countFull = 255

func newCounts(clusters int64, limit uint64) counts {
	return counts{small: make([]uint8, clusters), large: map[int64]uint64{}, limit: limit}
}

func (c *counts) len() int64 { return int64(len(c.small)) }

func (c *counts) get(k int64) uint64 {
	if k >= c.len() {
		return 0
	}
	if n := c.small[k]; n < countFull {
		return uint64(n)
	}
	return c.large[k]
}

func (c *counts) set(k int64, n uint64) {
	c.grow(k + 1)
	if n < countFull {
		c.small[k] = uint8(n)
		return
	}
	c.small[k] = countFull
	c.large[k] = n
}

// add counts one more; false means that the image could not store that.
func (c *counts) add(k int64) bool {
	n := c.get(k)
	if n >= c.limit {
		return false
	}
	c.set(k, n+1)
	return true
}

// grow makes room for clusters.
func (c *counts) grow(clusters int64) {
	if n := clusters - c.len(); n > 0 {
		c.small = append(c.small, make([]uint8, n)...)
	}
}

// reset forgets all counts but keeps the size.
func (c *counts) reset() {
	clear(c.small)
	clear(c.large)
}

// take finds n free clusters in a row at or after from, and counts them as used once.
func (c *counts) take(n, from int64) int64 {
	run := int64(0)
	k := from
	for ; k < c.len() && run < n; k++ {
		if c.small[k] == 0 {
			run++
		} else {
			run = 0
		}
	}
	first := k - run
	for j := range n {
		c.set(first+j, 1)
	}
	return first
}
