package qcow2

// counts is the number of references to each cluster, as check counts them: two bits each, and a map for the few that have
// more than that holds. When the few become many, each gets twice as many bits. A 1 TiB image of 64 KiB clusters takes
// 4 MiB, or 8 MiB if it has snapshots.
type counts struct {
	packed []uint8 // the lowest bits of a byte are the first cluster's
	n      int64
	order  uint             // a count has 2^order bits, at most 8
	large  map[int64]uint64 // where the bits are all set
	limit  uint64           // the largest refcount that the image can store
}

const (
	countOrder    = 1 // to begin with
	maxCountOrder = 3
)

// newCounts makes room for clusters of which most are referred to typical times, or less.
func newCounts(clusters int64, typical int, limit uint64) counts {
	c := counts{order: countOrder, large: map[int64]uint64{}, limit: limit}
	for c.order < maxCountOrder && typical >= int(c.full()) {
		c.order++
	}
	c.grow(clusters)
	return c
}

func (c *counts) len() int64 { return c.n }

// full is what the bits hold when the map has the count.
func (c *counts) full() uint8 { return uint8(1<<(1<<c.order) - 1) }

// place finds the byte of a count and how far the count is above its lowest bit.
func (c *counts) place(k int64) (at int64, shift uint) {
	return k >> (3 - c.order), uint(k&(1<<(3-c.order)-1)) << c.order
}

func (c *counts) get(k int64) uint64 {
	if k >= c.n {
		return 0
	}
	at, shift := c.place(k)
	if v := c.packed[at] >> shift & c.full(); v < c.full() {
		return uint64(v)
	}
	return c.large[k]
}

func (c *counts) set(k int64, n uint64) {
	c.grow(k + 1)
	full := c.full()
	v := full
	if n < uint64(full) {
		v = uint8(n)
	}
	at, shift := c.place(k)
	if was := c.packed[at] >> shift & full; was == full && v < full {
		delete(c.large, k)
	}
	c.packed[at] = c.packed[at]&^(full<<shift) | v<<shift
	if v < full {
		return
	}
	if c.large[k] = n; c.order < maxCountOrder && int64(len(c.large)) > 1<<10+c.n>>10 {
		c.widen()
	}
}

// widen gives each count twice as many bits.
func (c *counts) widen() {
	was := *c
	c.order++
	c.packed = make([]uint8, (c.n<<c.order+7)>>3)
	for k := range was.n {
		at, shift := was.place(k)
		v := was.packed[at] >> shift & was.full()
		if v == 0 {
			continue
		}
		if v == was.full() {
			n := c.large[k]
			if v = c.full(); n < uint64(v) {
				v = uint8(n)
				delete(c.large, k)
			}
		}
		at, shift = c.place(k)
		c.packed[at] |= v << shift
	}
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
	if clusters <= c.n {
		return
	}
	c.n = clusters
	if more := (clusters<<c.order+7)>>3 - int64(len(c.packed)); more > 0 {
		c.packed = append(c.packed, make([]uint8, more)...)
	}
}

// reset forgets all counts but keeps the size.
func (c *counts) reset() {
	clear(c.packed)
	clear(c.large)
}

// take finds n free clusters in a row at or after from, and counts them as used once.
func (c *counts) take(n, from int64) int64 {
	run := int64(0)
	k := from
	for ; k < c.n && run < n; k++ {
		if c.get(k) == 0 {
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
