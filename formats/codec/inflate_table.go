package codec

import "bytes"

// Sizes of the look-up tables. The first litRoot (distRoot, preRoot) bits of the input index the table; longer codes
// go on in a second table behind it. The sizes are the next powers of two above the worst case of the second tables,
// so that an index needs a mask and no bounds check.
const (
	maxLitCodes  = 288
	maxDistCodes = 32
	preCodes     = 19

	litRoot  = 11
	distRoot = 8
	preRoot  = 7

	litTableSize  = 4096 // at most 2342 are used
	distTableSize = 512  // at most 402 are used
	preTableSize  = 128

	maxCodeLen = 15
)

// A table entry. Bits 0-7 are the number of bits to drop: code and extra bits together. Then
//
//	literal          bit 31 set, the byte in bits 16-23
//	length, distance the base value in bits 16-30, the length of the code alone in bits 8-11
//	special          bit 15 set, and bit 14 (second table: its start in bits 16-30, its index bits in 8-11),
//	                 or bit 13 (end of block), or neither: no such code
const (
	entryLiteral = 1 << 31
	entrySpecial = 1 << 15
	entrySecond  = 1 << 14
	entryEnd     = 1 << 13
	entryInvalid = entrySpecial
)

// litEntries, distEntries and preEntries give each symbol's entry without its code's length, which is added to the
// extra bits in bits 0-7 and put into bits 8-11.
var (
	litEntries  = litLenEntries()
	distEntries = distanceEntries()
	preEntries  = preCodeEntries()
)

// litLenEntries follows the table of RFC 1951, 3.2.5; 286 and 287 take part in codes but may not occur.
func litLenEntries() (t [maxLitCodes]uint32) {
	for i := range 256 {
		t[i] = entryLiteral | uint32(i)<<16
	}
	t[256] = entrySpecial | entryEnd
	base := uint32(3)
	for i := range 28 {
		extra := uint32(0)
		if i >= 8 {
			extra = uint32(i/4 - 1)
		}
		t[257+i] = base<<16 | extra
		base += 1 << extra
	}
	t[285] = 258 << 16
	t[286], t[287] = entryInvalid, entryInvalid
	return t
}

func distanceEntries() (t [maxDistCodes]uint32) {
	base := uint32(1)
	for i := range 30 {
		extra := uint32(0)
		if i >= 4 {
			extra = uint32(i/2 - 1)
		}
		t[i] = base<<16 | extra
		base += 1 << extra
	}
	t[30], t[31] = entryInvalid, entryInvalid
	return t
}

func preCodeEntries() (t [preCodes]uint32) {
	for i := range t {
		t[i] = uint32(i) << 16
	}
	return t
}

// The code lengths of fixed blocks (RFC 1951, 3.2.6).
var (
	fixedLitLens  = fixedLitLengths()
	fixedDistLens = [maxDistCodes]uint8(bytes.Repeat([]byte{5}, maxDistCodes))
)

func fixedLitLengths() (t [maxLitCodes]uint8) {
	for i := range t {
		switch {
		case i < 144:
			t[i] = 8
		case i < 256:
			t[i] = 9
		case i < 280:
			t[i] = 7
		default:
			t[i] = 8
		}
	}
	return t
}

// fixedTables makes the tables of fixed blocks.
func (z *Inflater) fixedTables() {
	if z.fixed {
		return
	}
	buildTable(z.lit[:], fixedLitLens[:], litEntries[:], litRoot, &z.work)
	buildTable(z.dist[:], fixedDistLens[:], distEntries[:], distRoot, &z.work)
	z.fixed = true
}

// complete reports whether the code lengths use up the code space exactly.
func complete(lens []uint8) bool {
	sum := 0
	for _, l := range lens {
		if l != 0 {
			sum += 1 << (maxCodeLen - l)
		}
	}
	return sum == 1<<maxCodeLen
}

// buildTable makes the look-up table of the canonical code (RFC 1951, 3.2.2) with the given lengths. It reports false
// for lengths that are no code. An incomplete code is one only if it is empty or has a single code of one bit; what
// has no meaning in it becomes an invalid entry.
func buildTable(table []uint32, lens []uint8, entries []uint32, root uint, sorted *[maxLitCodes]uint16) bool {
	var count, next [maxCodeLen + 1]uint16
	for _, l := range lens {
		count[l&maxCodeLen]++
	}
	used := len(lens) - int(count[0])
	count[0] = 0
	space, longest := 1, uint(0)
	for l := 1; l <= maxCodeLen; l++ {
		next[l] = next[l-1] + count[l-1]
		space = space<<1 - int(count[l])
		if space < 0 {
			return false
		}
		if count[l] != 0 {
			longest = uint(l)
		}
	}
	if space > 0 {
		if used > 1 || longest > 1 {
			return false
		}
		for i := range table[:1<<root] {
			table[i] = entryInvalid | 1
		}
		if used == 0 {
			return true
		}
	}
	for sym, l := range lens {
		if l != 0 {
			sorted[next[l&maxCodeLen]] = uint16(sym)
			next[l&maxCodeLen]++
		}
	}
	if space > 0 {
		for i := 0; i < 1<<root; i += 2 {
			table[i] = withLen(entries[sorted[0]], 1)
		}
		return true
	}
	fillTable(table, sorted[:used], entries, &count, root)
	return true
}

// withLen adds the length of the code to a symbol's entry.
func withLen(e uint32, n uint) uint32 { return e + uint32(n)<<8 + uint32(n) }

// fillTable writes the entries of a complete code. Codes are stored with their first bit lowest, so they are counted up
// in reversed bit order. The root table grows with the length of the codes: it is doubled whenever a longer code comes.
func fillTable(table []uint32, sorted []uint16, entries []uint32, count *[maxCodeLen + 1]uint16, root uint) {
	code, n := uint(0), uint(0)
	left := uint16(0)
	for left == 0 {
		n++
		left = count[n]
	}
	size := 1 << min(n, root)
	for i, sym := range sorted {
		if n > root {
			fillSecond(table, sorted[i:], entries, count, root, code, n, left)
			return
		}
		table[code] = withLen(entries[sym], n)
		left--
		if i == len(sorted)-1 {
			break
		}
		code = nextReversed(code, n)
		for left == 0 {
			n++
			left = count[n]
			if n <= root {
				copy(table[size:2*size], table[:size])
				size *= 2
			}
		}
	}
	for ; size < 1<<root; size *= 2 {
		copy(table[size:2*size], table[:size])
	}
}

// nextReversed returns the code of n bits that follows code, both in reversed bit order.
func nextReversed(code, n uint) uint {
	bit := uint(1) << (n - 1)
	for code&bit != 0 {
		code ^= bit
		bit >>= 1
	}
	return code | bit
}

// fillSecond writes the codes that are longer than root bits, from the given one on, into tables behind the root table.
func fillSecond(table []uint32, sorted []uint16, entries []uint32, count *[maxCodeLen + 1]uint16, root, code, n uint, left uint16) {
	start, end := 0, 1<<root
	width := uint(0)
	prefix := ^uint(0)
	for i, sym := range sorted {
		if p := code & (1<<root - 1); p != prefix {
			prefix = p
			start = end
			width = n - root
			for room := 1<<width - int(left); room > 0; {
				width++
				room = room<<1 - int(count[root+width])
			}
			end = start + 1<<width
			table[p] = uint32(start)<<16 | entrySpecial | entrySecond | uint32(width)<<8 | uint32(root)
		}
		e := withLen(entries[sym], n) - uint32(root)<<8 - uint32(root)
		for j := start + int(code>>root); j < end; j += 1 << (n - root) {
			table[j] = e
		}
		left--
		if i == len(sorted)-1 {
			return
		}
		code = nextReversed(code, n)
		for left == 0 {
			n++
			left = count[n]
		}
	}
}
