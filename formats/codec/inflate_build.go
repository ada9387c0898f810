package codec

import "math/bits"

// fixedTables makes the tables of fixed blocks.
func (z *Inflater) fixedTables() {
	if z.fixed {
		return
	}
	copy(z.lens[:], fixedLitLens[:])
	z.litTable(fixedLitLens[:])
	z.distTable(fixedDistLens[:])
	z.fixed = true
}

// codes are the symbols of a canonical code (RFC 1951, 3.2.2) in order of their codes.
type codes struct {
	symbol [maxLitCodes]uint16
	code   [maxLitCodes]uint16 // the first bit lowest, as it comes out of the stream
	count  [maxCodeLen + 1]int // codes of each length; none of 0
	used   int
	space  int // what is left of the code space: 0 for a complete code
}

// sort takes the lengths of the symbols' codes. It reports false for lengths that are no code. An incomplete code is one
// only if it is empty or has a single code of one bit.
func (c *codes) sort(lens []uint8) bool {
	var count [maxCodeLen + 1]int
	for _, l := range lens {
		count[l&maxCodeLen]++
	}
	c.used = len(lens) - count[0]
	count[0] = 0
	c.count = count
	var place, code [maxCodeLen + 1]int
	space := 1
	for l := 1; l <= maxCodeLen; l++ {
		place[l] = place[l-1] + count[l-1]
		code[l] = (code[l-1] + count[l-1]) << 1
		space = space<<1 - count[l]
		if space < 0 {
			return false
		}
	}
	c.space = space
	if space > 0 && (c.used > 1 || c.used == 1 && count[1] == 0) {
		return false
	}
	for sym, l := range lens {
		if l &= maxCodeLen; l != 0 {
			at := place[l]
			place[l]++
			c.symbol[at] = uint16(sym)
			c.code[at] = bits.Reverse16(uint16(code[l])) >> (16 - l)
			code[l]++
		}
	}
	return true
}

// withLen adds the length of the code to a symbol's entry: to the bits to drop, and at the given place.
func withLen(e uint32, n, at uint) uint32 { return e + uint32(n)<<at + uint32(n) }

// litTable makes the table of literals and lengths.
func (z *Inflater) litTable(lens []uint8) bool {
	c := &z.codes
	if !c.sort(lens) {
		return false
	}
	if c.space > 0 {
		c.fillIncomplete(z.lit[:1<<litRoot], litEntries[:], lengthCode)
		return true
	}
	z.fillPairs()
	c.fillSecond(z.lit[:], litEntries[:], litRoot, lengthCode)
	return true
}

// distTable makes the table of distances.
func (z *Inflater) distTable(lens []uint8) bool {
	c := &z.codes
	if !c.sort(lens) {
		return false
	}
	if c.space > 0 {
		c.fillIncomplete(z.dist[:1<<distRoot], distEntries[:], distCode)
		return true
	}
	c.fill(z.dist[:], distEntries[:], distRoot, distCode)
	c.fillSecond(z.dist[:], distEntries[:], distRoot, distCode)
	return true
}

// fillIncomplete fills the root table of a code that has no symbol or one. What has no meaning is an invalid entry.
func (c *codes) fillIncomplete(table []uint32, entries []uint32, at uint) {
	for i := range table {
		table[i] = entryInvalid | 1
	}
	if c.used == 0 {
		return
	}
	e := withLen(entries[c.symbol[0]], 1, at)
	for i := 0; i < len(table); i += 2 {
		table[i] = e
	}
}

// fill writes the entries of the codes that fit into the root table. The table grows with the length of the codes: it is
// doubled before longer ones come.
func (c *codes) fill(table []uint32, entries []uint32, root, at uint) {
	next := 0
	for n := uint(1); n <= root; n++ {
		if half := 1 << (n - 1); n > 1 {
			copy(table[half:2*half], table[:half])
		}
		for range c.count[n] {
			table[c.code[next]] = withLen(entries[c.symbol[next]], n, at)
			next++
		}
	}
}

// fillPairs writes the entries of the root table of literals and lengths. Where a literal leaves some bits of the index,
// what these stand for joins it.
//
// follow is the table of what may join, 0 for nothing; it grows as in fill. When it has taken in the codes of r bits it
// serves the literals that leave r bits.
func (z *Inflater) fillPairs() {
	c := &z.codes
	follow := &z.follow
	follow[0] = 0
	first := [litRoot + 2]int{} // of the codes of each length
	for n := 1; n <= litRoot; n++ {
		first[n+1] = first[n] + c.count[n]
	}
	for r := uint(0); r < litRoot; r++ {
		if r > 0 {
			half := 1 << (r - 1)
			copy(follow[half:2*half], follow[:half])
			for k := first[r]; k < first[r+1]; k++ {
				follow[c.code[k]] = 0
				if e := joinEntries[c.symbol[k]]; e != 0 {
					follow[c.code[k]] = withLen(e, r, lengthCode)
				}
			}
		}
		n := litRoot - r
		for k := first[n]; k < first[n+1]; k++ {
			e := withLen(litEntries[c.symbol[k]], n, lengthCode)
			at := uint(c.code[k])
			if c.symbol[k] > 255 {
				for ; at < 1<<litRoot; at += 1 << n {
					z.lit[at] = e
				}
				continue
			}
			for _, f := range follow[:1<<r] {
				z.lit[at&(litTableSize-1)] = e + f
				at += 1 << n
			}
		}
	}
}

// fillSecond writes the codes that are longer than root bits into tables behind the root table.
func (c *codes) fillSecond(table []uint32, entries []uint32, root, at uint) {
	k := 0
	for n := range root + 1 {
		k += c.count[n]
	}
	start, end, prefix := uint(0), uint(1)<<root, ^uint(0)
	for n := root + 1; n <= maxCodeLen; n++ {
		for left := c.count[n]; left > 0; left-- {
			code := uint(c.code[k])
			if p := code & (1<<root - 1); p != prefix {
				prefix = p
				start = end
				width := n - root
				for room := 1<<width - left; room > 0; {
					width++
					room = room<<1 - c.count[root+width]
				}
				end = start + 1<<width
				table[p] = uint32(start)<<startAt | entrySpecial | entrySecond | uint32(width)<<widthAt | uint32(root)
			}
			e := withLen(entries[c.symbol[k]], n-root, at)
			for j := start + code>>root; j < end; j += 1 << (n - root) {
				table[j] = e
			}
			k++
		}
	}
}
