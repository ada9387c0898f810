package codec

import (
	"encoding/binary"
	"math/bits"
)

const (
	minMatch = 3
	maxMatch = 258

	chunkTokens = 1024
	maxTokens   = 32 * chunkTokens

	minHashBits  = 10
	maxHashBits  = 15
	hash3Bits    = 12
	searchMargin = 16 // no match starts in the last bytes, so that words may be read without a check

	niceMatch = 32   // a match of that length is taken without trying the others
	near3     = 4096 // a match of three bytes that is farther back costs more than the bytes
	lazyMatch = 10   // a match shorter than that is weighed against the one that begins a byte later
)

// matcher finds repeated strings. For each hash of four bytes it keeps the last two positions, as the halves of a
// word; for each hash of three bytes the last one. A position is kept by its low 16 bits. An entry may be stale, wrapped
// or of another string, as the bytes are always compared.
type matcher struct {
	window int
	shift  uint // of the hash of four bytes
	head   [1 << maxHashBits]uint32
	head3  [1 << hash3Bits]uint16
	wide   *[1 << maxHashBits]uint64 // in place of head, for large windows: the last four positions
}

func (m *matcher) setWindow(window int) {
	m.window = window
	if window > Window4K {
		m.wide = new([1 << maxHashBits]uint64)
	}
}

// reset forgets the earlier input, so that the output depends on nothing but the input.
func (m *matcher) reset(n int) {
	size := max(minHashBits, min(bits.Len(uint(min(n, m.window))), maxHashBits))
	m.shift = uint(32 - size)
	if m.wide != nil {
		clear(m.wide[:1<<size])
	} else {
		clear(m.head[:1<<size])
	}
	clear(m.head3[:])
}

func hash4(v uint32, shift uint) uint32 { return v * 0x9e3779b1 >> (shift & 31) & (1<<maxHashBits - 1) }
func hash3(v uint32) uint32             { return v << 8 * 0x9e3779b1 >> (32 - hash3Bits) }

// tokenize turns src from pos on into tokens until there are len(tokens) or src ends, and counts them in f. It returns
// the position it came to and the number of tokens.
func (m *matcher) tokenize(src []byte, pos int, tokens []uint32, f *frequencies) (int, int) {
	count := 0
	last := len(src) - searchMargin
	length, dist := 0, 0 // the match at pos
	if pos <= last {
		length, dist = m.find(src, pos)
	}
	for pos < last && count < len(tokens)-1 {
		from := pos + 1
		if length < lazyMatch {
			// A longer match one byte on is worth a literal, as is none at all here.
			l, d := m.find(src, pos+1)
			from++
			if length < minMatch || 4*(l-length)+bits.Len(uint(dist))-bits.Len(uint(d)) > 2 {
				tokens[count] = literalToken(src[pos])
				count++
				f.lit[src[pos]]++
				pos++
				length, dist = l, d
				continue
			}
		}
		sym := distSymbol(uint32(dist - 1))
		tokens[count] = matchToken(length, dist, sym)
		count++
		f.lit[lengthSymbol[length]]++
		f.dist[sym]++
		pos += length
		m.insert(src, from, min(pos, last+1))
		length, dist = 0, 0
		if pos <= last {
			length, dist = m.find(src, pos)
		}
	}
	if pos >= last {
		for pos < len(src) && count < len(tokens) {
			tokens[count] = literalToken(src[pos])
			count++
			f.lit[src[pos]]++
			pos++
		}
	}
	return pos, count
}

// A token has the length's or byte's index into the table of codes in bits 0-9 (the byte, or 256 more than the length),
// the distance's symbol in bits 10-14 (noDistance for a byte), and the extra bits of the distance above.
const noDistance = 30

func literalToken(b byte) uint32 { return uint32(b) | noDistance<<10 }

func matchToken(length, dist int, sym uint8) uint32 {
	return uint32(length+256) | uint32(sym)<<10 | (uint32(dist)-distEntries[sym&31]>>16)<<15
}

// insert enters the positions from..to-1, which lie within a match; short strings there are not worth the time.
func (m *matcher) insert(src []byte, from, to int) {
	if m.wide != nil {
		for i := from; i < to; i++ {
			h := &m.wide[hash4(binary.LittleEndian.Uint32(src[i:]), m.shift)]
			*h = *h<<16 | uint64(i&0xffff)
		}
		return
	}
	for i := from; i < to; i++ {
		v := binary.LittleEndian.Uint32(src[i:])
		h := &m.head[hash4(v, m.shift)]
		*h = *h<<16 | uint32(i&0xffff)
	}
}

// A candidate's key: the bytes that are equal, at most 8, less a part for the distance. So the larger key is the longer
// match or, of two equally long ones, the nearer.
const keyShift = 17

// find enters pos and returns the longest earlier match for it; one of less than minMatch bytes means nothing. Which
// candidate is the best is found without branches, because no branch here could be foretold.
func (m *matcher) find(src []byte, pos int) (length, dist int) {
	if m.wide != nil {
		return m.findWide(src, pos)
	}
	v := binary.LittleEndian.Uint64(src[pos:])
	h := &m.head[hash4(uint32(v), m.shift)]
	old := *h
	*h = old<<16 | uint32(pos&0xffff)
	h3 := &m.head3[hash3(uint32(v))]
	old3 := *h3
	*h3 = uint16(pos)

	limit := min(m.window, pos)
	best := candidate(src, pos, v, old3, min(limit, near3))
	best = max(best, candidate(src, pos, v, uint16(old), limit))
	best = max(best, candidate(src, pos, v, uint16(old>>16), limit))
	length = (best + 1<<keyShift - 1) >> keyShift
	dist = length<<keyShift - best
	if length == 8 {
		length, dist = m.extend(src, pos, dist, uint64(old), limit)
	}
	return length, dist
}

// findWide is find with four candidates.
func (m *matcher) findWide(src []byte, pos int) (length, dist int) {
	v := binary.LittleEndian.Uint64(src[pos:])
	h := &m.wide[hash4(uint32(v), m.shift)]
	old := *h
	*h = old<<16 | uint64(pos&0xffff)
	h3 := &m.head3[hash3(uint32(v))]
	old3 := *h3
	*h3 = uint16(pos)

	limit := min(m.window, pos)
	best := candidate(src, pos, v, old3, min(limit, near3))
	for rest := old; rest != 0; rest >>= 16 {
		best = max(best, candidate(src, pos, v, uint16(rest), limit))
	}
	length = (best + 1<<keyShift - 1) >> keyShift
	dist = length<<keyShift - best
	if length == 8 {
		length, dist = m.extend(src, pos, dist, old, limit)
	}
	return length, dist
}

// candidate returns the key of the match at the position whose low bits are given, 0 if it is out of reach.
func candidate(src []byte, pos int, v uint64, low uint16, limit int) int {
	d := int(uint16(pos - int(low)))
	_, in := bits.Sub64(uint64(d)-1, uint64(limit), 0)
	d &= -int(in)
	p := pos - d
	n := bits.TrailingZeros64(binary.LittleEndian.Uint64(src[p:p+8:p+8])^v) >> 3
	return (n<<keyShift - d) & -int(in)
}

// extend returns the longest of the matches that have eight bytes or more; the one at distance dist is the nearest.
func (m *matcher) extend(src []byte, pos, dist int, old uint64, limit int) (int, int) {
	end := min(maxMatch, len(src)-pos)
	length := matchLen(src[pos-dist:], src[pos:pos+end], 8)
	for ; old != 0 && length < niceMatch && length < end; old >>= 16 {
		d := int(uint16(pos) - uint16(old))
		if d > limit || d <= dist {
			continue
		}
		p := pos - d
		if binary.LittleEndian.Uint32(src[p+length-3:]) != binary.LittleEndian.Uint32(src[pos+length-3:]) {
			continue
		}
		if n := matchLen(src[p:], src[pos:pos+end], 0); n > length {
			length, dist = n, d
		}
	}
	return length, dist
}

// matchLen returns how many first bytes of b, which is not longer than a, are equal in both; n are known to be.
func matchLen(a, b []byte, n int) int {
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
