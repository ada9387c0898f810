package codec

// preamble is the description of the codes at the start of a dynamic block (RFC 1951, 3.2.7).
type preamble struct {
	code  prefixCode
	items [maxLitCodes + maxDistCodes]uint16 // symbol in bits 0-4, its extra bits above
	count int

	nlit, ndist, npre int
	cost              int // in bits
}

// preExtra has the extra bits of the repeat symbols 16, 17 and 18.
var preExtra = [preCodes]uint8{16: 2, 17: 3, 18: 7}

// build makes the description of two codes.
func (p *preamble) build(lit, dist *prefixCode) {
	p.nlit, p.ndist = 286, 30
	for p.nlit > 257 && lit.lens[p.nlit-1] == 0 {
		p.nlit--
	}
	for p.ndist > 1 && dist.lens[p.ndist-1] == 0 {
		p.ndist--
	}
	var lens [maxLitCodes + maxDistCodes]uint8
	copy(lens[:], lit.lens[:p.nlit])
	copy(lens[p.nlit:], dist.lens[:p.ndist])
	var freq [preCodes]uint32
	p.shorten(lens[:p.nlit+p.ndist], &freq)
	p.code.build(freq[:], preRoot)
	p.npre = preCodes
	for p.npre > 4 && p.code.lens[preOrder[p.npre-1]] == 0 {
		p.npre--
	}
	p.cost = 5 + 5 + 4 + 3*p.npre
	for sym, n := range freq {
		p.cost += int(n) * int(p.code.lens[sym]+preExtra[sym])
	}
}

// shorten writes the lengths as items, with repeats where there are runs.
func (p *preamble) shorten(lens []uint8, freq *[preCodes]uint32) {
	p.count = 0
	item := func(sym, extra int) {
		p.items[p.count] = uint16(sym | extra<<5)
		p.count++
		freq[sym]++
	}
	for len(lens) > 0 {
		value, run := lens[0], 1
		for run < len(lens) && lens[run] == value {
			run++
		}
		lens = lens[run:]
		if value != 0 {
			item(int(value), 0)
			run--
		}
		for run > 0 {
			switch {
			case value == 0 && run >= 11:
				n := min(run, 138)
				item(18, n-11)
				run -= n
			case value == 0 && run >= 3:
				item(17, run-3)
				run = 0
			case value != 0 && run >= 3:
				n := min(run, 6)
				item(16, n-3)
				run -= n
			default:
				item(int(value), 0)
				run--
			}
		}
	}
}

// emit writes the description.
func (p *preamble) emit(w *bitWriter) {
	w.put(uint32(p.nlit-257), 5)
	w.put(uint32(p.ndist-1), 5)
	w.put(uint32(p.npre-4), 4)
	for _, sym := range preOrder[:p.npre] {
		w.put(uint32(p.code.lens[sym]), 3)
	}
	for _, it := range p.items[:p.count] {
		sym := it & 31
		w.put(uint32(p.code.codes[sym])|uint32(it>>5)<<p.code.lens[sym], uint(p.code.lens[sym]+preExtra[sym]))
	}
	w.flushBytes()
}
