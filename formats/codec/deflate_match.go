package codec

import (
	"encoding/binary"
	"math/bits"
)

const (
	minMatch = 3
	maxMatch = 258

	chunkTokens = 2048
	maxTokens   = 16 * chunkTokens

	maxHashBits  = 15
	hash3Bits    = 11
	tokenMatch   = 1 << 31 // a match: length in bits 16-24, distance less one in bits 0-14; otherwise a byte
	searchMargin = 16      // no match starts in the last bytes, so that words may be read without a check
)

// matcher finds repeated strings by hash chains. A position is kept by its low 16 bits; whatever a stale or wrapped entry
// says, the bytes are compared.
type matcher struct {
	window int
	shift  uint // of the hash of four bytes
	depth  int  // candidates looked at
	nice   int  // a match of that length is taken at once

	head  [1 << maxHashBits]uint16
	head3 [1 << hash3Bits]uint16
	prev  [Window32K]uint16
}

func (m *matcher) setWindow(window int) {
	m.window = window
	m.shift = uint(32 - max(13, min(maxHashBits, bits.Len(uint(window))-1)))
	m.depth, m.nice = 12, 64
}

// reset forgets the earlier input, so that the output depends on nothing but the input.
func (m *matcher) reset(n int) {
	clear(m.head[:1<<(32-m.shift)])
	clear(m.head3[:])
	clear(m.prev[:m.window])
}

func hash4(v uint32, shift uint) uint32 { return v * 0x9e3779b1 >> (shift & 31) }
func hash3(v uint32) uint32             { return v << 8 * 0x9e3779b1 >> (32 - hash3Bits) }

// tokenize turns src from pos on into tokens until there are len(tokens) or src ends, and counts them in f. It returns
// the position it came to.
func (m *matcher) tokenize(src []byte, pos int, tokens []uint32, f *frequencies) (int, int) {
	count := 0
	last := len(src) - searchMargin
	for pos <= last && count < len(tokens)-1 {
		length, dist := m.find(src, pos, minMatch-1, m.depth)
		if length < minMatch {
			tokens[count] = uint32(src[pos])
			count++
			f.lit[src[pos]]++
			pos++
			continue
		}
		// A longer match one byte on is worth a literal.
		for length < m.nice && pos+1 <= last && count < len(tokens)-1 {
			l, d := m.find(src, pos+1, length, m.depth/2)
			if l <= length || 4*(l-length)+bits.Len(uint(dist))-bits.Len(uint(d)) <= 2 {
				m.insert(src, pos+2, min(pos+length, last+1))
				goto take
			}
			tokens[count] = uint32(src[pos])
			count++
			f.lit[src[pos]]++
			pos++
			length, dist = l, d
		}
		m.insert(src, pos+1, min(pos+length, last+1))
	take:
		tokens[count] = tokenMatch | uint32(length)<<16 | uint32(dist-1)
		count++
		f.lit[lengthSymbol[length]]++
		f.dist[distSymbol(uint32(dist-1))]++
		pos += length
	}
	if pos > last {
		for pos < len(src) && count < len(tokens) {
			tokens[count] = uint32(src[pos])
			count++
			f.lit[src[pos]]++
			pos++
		}
	}
	return pos, count
}

// insert enters the positions from..to-1.
func (m *matcher) insert(src []byte, from, to int) {
	mask := m.window - 1
	for i := from; i < to; i++ {
		v := binary.LittleEndian.Uint32(src[i:])
		h := hash4(v, m.shift) & (1<<maxHashBits - 1)
		m.prev[i&mask&(Window32K-1)] = m.head[h]
		m.head[h] = uint16(i)
		m.head3[hash3(v)] = uint16(i)
	}
}

// find enters pos and returns the longest earlier match for it, if there is one of more than best bytes; otherwise best
// and 0.
func (m *matcher) find(src []byte, pos, best, depth int) (length, dist int) {
	v := binary.LittleEndian.Uint32(src[pos:])
	h := hash4(v, m.shift) & (1<<maxHashBits - 1)
	mask := m.window - 1
	limit := min(m.window, pos)
	next := m.head[h]
	m.prev[pos&mask&(Window32K-1)] = next
	m.head[h] = uint16(pos)
	h3 := hash3(v)
	next3 := m.head3[h3]
	m.head3[h3] = uint16(pos)

	if best < minMatch {
		d := int(uint16(pos) - next3)
		if d-1 < min(limit, 4096) && d > 0 && (binary.LittleEndian.Uint32(src[pos-d:])^v)<<8 == 0 {
			best, dist = minMatch, d
		}
	}
	end := min(maxMatch, len(src)-pos)
	if best >= end {
		return best, 0
	}
	d := 0
	for ; depth > 0; depth-- {
		step := int(uint16(pos-d) - next)
		d += step
		if step == 0 || d > limit {
			break
		}
		p := pos - d
		next = m.prev[p&mask&(Window32K-1)]
		if binary.LittleEndian.Uint32(src[p:]) != v || src[p+best] != src[pos+best] {
			continue
		}
		n := 4 + matchLen(src[p+4:], src[pos+4:pos+end])
		if n > best {
			best, dist = n, d
			if n >= m.nice || pos+best >= len(src) {
				break
			}
		}
	}
	return best, dist
}

// matchLen returns how many first bytes of b, which is not longer than a, are equal in both.
func matchLen(a, b []byte) int {
	n := 0
	for len(b)-n >= 8 {
		x := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:])
		if x != 0 {
			return n + bits.TrailingZeros64(x)>>3
		}
		n += 8
	}
	for n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
