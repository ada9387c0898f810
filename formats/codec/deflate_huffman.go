package codec

import "math/bits"

// prefixCode is a Huffman code of up to 288 symbols.
type prefixCode struct {
	lens  [maxLitCodes]uint8
	codes [maxLitCodes]uint16 // first bit lowest
	keys  [2][maxLitCodes]uint32
}

// build makes the code for the given counts with lengths up to limit. There are always at least two symbols in it,
// because a code of one symbol is not complete and some readers refuse it.
func (p *prefixCode) build(freq []uint32, limit int) {
	n := len(freq)
	clear(p.lens[:n])
	used := p.sortedKeys(freq)
	for i := 0; len(used) < 2; i++ {
		if freq[i] == 0 {
			p.keys[0][1] = p.keys[0][0]
			p.keys[0][0] = uint32(i)
			used = p.keys[0][:len(used)+1]
		}
	}
	var work [maxLitCodes]uint32
	depths := work[:len(used)]
	for i, k := range used {
		depths[i] = max(k>>9, 1)
	}
	huffmanDepths(depths)
	var count [maxCodeLen + 2]int
	limitDepths(depths, limit, &count)
	i := len(used)
	for l := 1; l <= limit; l++ {
		for range count[l] {
			i--
			p.lens[used[i]&511] = uint8(l)
		}
	}
	p.assign(n, &count)
}

// sortedKeys returns count<<9 | symbol of the symbols that occur, by count.
func (p *prefixCode) sortedKeys(freq []uint32) []uint32 {
	var low, high [257]uint16
	n := 0
	for sym, f := range freq {
		if f != 0 {
			f = min(f, 1<<16-1)
			p.keys[0][n] = f<<9 | uint32(sym)
			n++
			low[f&255+1]++
			high[f>>8+1]++
		}
	}
	for i := range 256 {
		low[i+1] += low[i]
		high[i+1] += high[i]
	}
	for _, k := range p.keys[0][:n] {
		slot := &low[k>>9&255]
		p.keys[1][*slot] = k
		*slot++
	}
	for _, k := range p.keys[1][:n] {
		slot := &high[k>>17&255]
		p.keys[0][*slot] = k
		*slot++
	}
	return p.keys[0][:n]
}

// huffmanDepths replaces ascending weights by the depths of their leaves in a Huffman tree, in place (Moffat and
// Katajainen, "In-place calculation of minimum-redundancy codes").
func huffmanDepths(a []uint32) {
	n := len(a)
	leaf, root := 0, 0
	for next := range n - 1 {
		var sum uint32
		for range 2 {
			if leaf >= n || root < next && a[root] < a[leaf] {
				sum += a[root]
				a[root] = uint32(next)
				root++
			} else {
				sum += a[leaf]
				if leaf > next {
					a[leaf] = 0
				}
				leaf++
			}
		}
		a[next] = sum
	}
	a[n-2] = 0
	for i := n - 3; i >= 0; i-- {
		a[i] = a[a[i]] + 1
	}
	avail, used, depth := 1, 0, uint32(0)
	root, next := n-2, n-1
	for avail > 0 {
		for root >= 0 && a[root] == depth {
			used++
			root--
		}
		for avail > used {
			a[next] = depth
			next--
			avail--
		}
		avail, used = 2*used, 0
		depth++
	}
}

// limitDepths counts the depths, with those above limit moved up and others moved down to keep the code complete.
func limitDepths(depths []uint32, limit int, count *[maxCodeLen + 2]int) {
	for _, d := range depths {
		count[min(int(d), limit)]++
	}
	total := 0
	for l := 1; l <= limit; l++ {
		total += count[l] << (limit - l)
	}
	for ; total > 1<<limit; total-- {
		l := limit - 1
		for count[l] == 0 {
			l--
		}
		count[l]--
		count[l+1] += 2
		count[limit]--
	}
}

// assign gives out the canonical codes (RFC 1951, 3.2.2).
func (p *prefixCode) assign(n int, count *[maxCodeLen + 2]int) {
	var next [maxCodeLen + 2]uint16
	for l := 1; l <= maxCodeLen; l++ {
		next[l+1] = (next[l] + uint16(count[l])) << 1
	}
	for sym, l := range p.lens[:n] {
		if l != 0 {
			p.codes[sym] = bits.Reverse16(next[l]) >> (16 - l)
			next[l]++
		}
	}
}

// fixed makes the code of a fixed block.
func (p *prefixCode) fixed(lens []uint8) {
	var count [maxCodeLen + 2]int
	copy(p.lens[:], lens)
	for _, l := range lens {
		count[l]++
	}
	p.assign(len(lens), &count)
}
