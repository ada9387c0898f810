package codec

import (
	"math"
	"sync"
)

// frequencies counts the symbols of a block.
type frequencies struct {
	lit  [maxLitCodes]uint32
	dist [maxDistCodes]uint32
}

func (f *frequencies) clear() { *f = frequencies{} }

func (f *frequencies) add(g *frequencies) {
	for i, n := range g.lit {
		f.lit[i] += n
	}
	for i, n := range g.dist {
		f.dist[i] += n
	}
}

// cost returns the bits which the codes of the symbols take, without their extra bits.
func (f *frequencies) cost(lit, dist []uint8) int {
	sum := 0
	for i, n := range f.lit {
		sum += int(n) * int(lit[i])
	}
	for i, n := range f.dist {
		sum += int(n) * int(dist[i])
	}
	return sum
}

// extraBits returns the extra bits of the lengths and distances.
func (f *frequencies) extraBits() int {
	sum := 0
	for i, n := range f.lit[257:286] {
		sum += int(n) * int(litEntries[257+i]&63)
	}
	for i, n := range f.dist[:30] {
		sum += int(n) * int(distEntries[i]&0xff)
	}
	return sum
}

// What the preamble of a dynamic block costs, in bits, roughly: a part for each block and one for each symbol used.
const (
	preambleBits       = 120
	preambleSymbolBits = 3.5
)

// separate reports whether g is cheaper in a block of its own than together with f, by the entropies.
func (f *frequencies) separate(g *frequencies) bool {
	logs := weightedLogs()
	gain := float32(-preambleBits)
	for _, part := range [2][2][]uint32{{f.lit[:286], g.lit[:286]}, {f.dist[:30], g.dist[:30]}} {
		var totalF, totalG uint32
		both, apart := float32(0), float32(0)
		used := 0
		g := part[1]
		for i, a := range part[0] {
			b := g[i]
			totalF += a
			totalG += b
			both += logs.at(a + b)
			apart += logs.at(a) + logs.at(b)
			if a != 0 && b != 0 {
				used++
			}
		}
		gain += logs.at(totalF+totalG) - both
		gain -= logs.at(totalF) + logs.at(totalG) - apart
		gain -= preambleSymbolBits * float32(used)
	}
	return gain > 0
}

// logTable holds n*log2(n).
type logTable [2048]float32

var weightedLogs = sync.OnceValue(func() *logTable {
	t := new(logTable)
	for n := 2; n < len(t); n++ {
		t[n] = float32(n) * float32(math.Log2(float64(n)))
	}
	return t
})

func (t *logTable) at(n uint32) float32 {
	if n < uint32(len(t)) {
		return t[n]
	}
	return float32(n) * float32(math.Log2(float64(n)))
}
