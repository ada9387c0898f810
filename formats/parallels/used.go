package parallels

import (
	"context"
	"math/bits"
)

// bitset has a bit for each cluster of the data area.
type bitset struct {
	words []uint64
	n     int64 // bits; those after are clear
	hint  int64 // no bit before is clear
}

// take sets bit i; false if it is out of range or set.
func (s *bitset) take(i int64) bool {
	if i < 0 || i >= s.n || s.words[i/64]>>(i%64)&1 == 1 {
		return false
	}
	s.words[i/64] |= 1 << (i % 64)
	return true
}

// drop clears bit i.
func (s *bitset) drop(i int64) {
	if i >= 0 && i < s.n {
		s.words[i/64] &^= 1 << (i % 64)
		s.hint = min(s.hint, i)
	}
}

// first finds and sets the first clear bit, growing the set by one where there is none.
func (s *bitset) first() int64 {
	for w := s.hint / 64; w < int64(len(s.words)); w++ {
		if i := w*64 + int64(bits.TrailingZeros64(^s.words[w])); i < min(s.n, w*64+64) {
			s.hint = i + 1
			s.take(i)
			return i
		}
	}
	i := s.n
	s.n++
	if i/64 >= int64(len(s.words)) {
		s.words = append(s.words, 0)
	}
	s.take(i)
	s.hint = s.n
	return i
}

// newBitset is for the data area up to end, which the file's length bounds.
func (d *image) newBitset(end int64) bitset {
	n := (max(end-d.start, 0) + d.cluster - 1) / d.cluster
	return bitset{words: make([]uint64, (n+63)/64), n: n}
}

// index gives the number in the data area of the cluster at host; -1 before the data area.
func (d *image) index(host int64) int64 {
	if host < d.start {
		return -1
	}
	return (host - d.start) / d.cluster
}

// findUsed fills used from the BAT; sound is false if clusters are used twice or lie outside the data area.
func (d *image) findUsed(ctx context.Context) (sound bool, err error) {
	d.used, sound = d.newBitset(min(d.end, d.fileLen())), true
	err = d.eachHeld(ctx, func(_, e uint32) {
		if e != 0 && !d.used.take(d.index(int64(e)*d.unit)) {
			sound = false
		}
	})
	return sound, err
}
