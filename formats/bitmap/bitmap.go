package bitmap

import (
	"math/bits"
	"sync"
)

// Bitmap covers size bytes with one bit a granule. All methods may be called concurrently.
type Bitmap struct {
	mu    sync.RWMutex
	size  int64
	shift uint // log2 of the granularity in bytes
	words []uint64
}

// New makes a clear bitmap over size bytes; granularity is a power of two in bytes.
func New(size, granularity int64) *Bitmap {
	b := &Bitmap{size: size, shift: uint(bits.TrailingZeros64(uint64(granularity)))}
	b.words = make([]uint64, (b.count(size)+63)/64)
	return b
}

func (b *Bitmap) count(size int64) int64 { return (size + (1 << b.shift) - 1) >> b.shift }

// Size is the number of bytes covered.
func (b *Bitmap) Size() int64 {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.size
}

// Granularity is the number of bytes that a bit stands for.
func (b *Bitmap) Granularity() int64 { return 1 << b.shift }

// Set marks every granule that [off, off+n) touches. Parts outside the image are ignored.
func (b *Bitmap) Set(off, n int64) { b.change(off, n, true) }

// Clear unmarks every granule that [off, off+n) touches.
func (b *Bitmap) Clear(off, n int64) { b.change(off, n, false) }

func (b *Bitmap) change(off, n int64, set bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if off < 0 || n <= 0 || off >= b.size {
		return
	}
	if n > b.size-off {
		n = b.size - off
	}
	first, last := off>>b.shift, (off+n-1)>>b.shift
	for w := first / 64; w <= last/64; w++ {
		mask := ^uint64(0)
		if w == first/64 {
			mask &= ^uint64(0) << (first % 64)
		}
		if w == last/64 {
			mask &= ^uint64(0) >> (63 - last%64)
		}
		if set {
			b.words[w] |= mask
		} else {
			b.words[w] &^= mask
		}
	}
}

// Next finds the first dirty run at or after off: its offset and length in bytes, clipped to the image. n is 0 if there
// is none.
func (b *Bitmap) Next(off int64) (start, n int64) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if off < 0 || off >= b.size {
		return 0, 0
	}
	first := b.scan(off>>b.shift, false)
	if first<<b.shift >= b.size {
		return 0, 0
	}
	end := b.scan(first, true) << b.shift
	start = max(first<<b.shift, off)
	return start, min(end, b.size) - start
}

// scan gives the first bit at or after i that differs from while; the number of bits if there is none.
func (b *Bitmap) scan(i int64, while bool) int64 {
	total := b.count(b.size)
	for i < total {
		w := b.words[i/64]
		if while {
			w = ^w
		}
		w &= ^uint64(0) << (i % 64)
		if w != 0 {
			return min(i/64*64+int64(bits.TrailingZeros64(w)), total)
		}
		i = (i/64 + 1) * 64
	}
	return total
}

// Get reports whether the granule at off is dirty.
func (b *Bitmap) Get(off int64) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	i := off >> b.shift
	return off >= 0 && off < b.size && b.words[i/64]>>(i%64)&1 == 1
}

// Count is the number of dirty bytes as QEMU counts them: dirty granules times granularity.
func (b *Bitmap) Count() int64 {
	b.mu.RLock()
	defer b.mu.RUnlock()
	var n int64
	for _, w := range b.words {
		n += int64(bits.OnesCount64(w))
	}
	return n << b.shift
}

// Resize changes the number of bytes covered; what is added is clear.
func (b *Bitmap) Resize(size int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	words := make([]uint64, (b.count(size)+63)/64)
	copy(words, b.words)
	b.size, b.words = size, words
	if n := b.count(size); n%64 != 0 {
		words[len(words)-1] &= ^uint64(0) >> (64 - n%64)
	}
}

// Clone copies the bitmap.
func (b *Bitmap) Clone() *Bitmap {
	b.mu.RLock()
	defer b.mu.RUnlock()
	c := &Bitmap{size: b.size, shift: b.shift, words: make([]uint64, len(b.words))}
	copy(c.words, b.words)
	return c
}

// Merge sets what is set in src, whose granularity may differ.
func (b *Bitmap) Merge(src *Bitmap) {
	for off := int64(0); ; {
		start, n := src.Next(off)
		if n == 0 {
			return
		}
		b.Set(start, n)
		off = start + n
	}
}

// Words gives the bits, least significant first, 64 in each; granule i is bit i%64 of word i/64. The slice is the
// bitmap's own and is read or filled only while nobody else uses the bitmap.
func (b *Bitmap) Words() []uint64 { return b.words }
