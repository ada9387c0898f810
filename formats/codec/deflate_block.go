package codec

import "encoding/binary"

// The code of a match length, and the first length and the number of extra bits of each code (RFC 1951, 3.2.5).
var (
	lengthSymbol [259]uint16
	distSymbols  [512]uint8
)

func lengthSymbols() (t [259]uint16) {
	for sym := 257; sym < 285; sym++ {
		base, extra := litEntries[sym]>>lengthAt&lengthMask, litEntries[sym]&63
		for i := range uint32(1) << extra {
			t[base+i] = uint16(sym)
		}
	}
	t[258] = 285
	return t
}

// distanceSymbols has the symbols of the distances 1 to 256, then those of the distances from 257 on in steps of 128.
func distanceSymbols() (t [512]uint8) {
	for sym := range 30 {
		base, extra := distEntries[sym]>>16-1, distEntries[sym]&0xff
		for i := range uint32(1) << extra {
			if base+i < 256 {
				t[base+i] = uint8(sym)
			} else {
				t[256+(base+i)>>7] = uint8(sym)
			}
		}
	}
	return t
}

// distSymbol returns the code of the distance d+1.
func distSymbol(d uint32) uint8 {
	if d < 256 {
		return distSymbols[d]
	}
	return distSymbols[256+d>>7&255]
}

// bitWriter collects bits, first bit lowest.
type bitWriter struct {
	dst  []byte
	at   int
	bits uint64
	n    uint
}

// put adds n bits, at most 32; the caller has checked that there is room.
func (w *bitWriter) put(v uint32, n uint) {
	w.bits |= uint64(v) << w.n
	w.n += n
	for w.n >= 32 {
		binary.LittleEndian.PutUint32(w.dst[w.at:], uint32(w.bits))
		w.at += 4
		w.bits >>= 32
		w.n -= 32
	}
}

// align writes the bits out, filled up to a whole byte.
func (w *bitWriter) align() {
	for w.n > 0 {
		w.dst[w.at] = byte(w.bits)
		w.at++
		w.bits >>= 8
		w.n -= min(w.n, 8)
	}
	w.bits = 0
}

func (w *bitWriter) finish() int {
	w.align()
	return w.at
}

// room returns how many bits still fit.
func (w *bitWriter) room() int { return (len(w.dst)-w.at)*8 - int(w.n) }

// block writes one block in the cheapest of the three ways, or reports false if it does not fit. The costs are exact, so
// that nothing is written in vain.
func (d *Deflater) block(src []byte, tokens []uint32, final bool) bool {
	d.now.lit[256] = 1
	d.lit.build(d.now.lit[:maxLitCodes-2], maxCodeLen)
	d.dist.build(d.now.dist[:30], maxCodeLen)
	d.pre.build(&d.lit, &d.dist)
	extra := d.now.extraBits()
	dynamic := 3 + d.pre.cost + d.now.cost(d.lit.lens[:], d.dist.lens[:]) + extra
	fixed := 3 + d.now.cost(fixedLitLens[:], fixedDistLens[:]) + extra
	parts := max(1, (len(src)+0xfffe)/0xffff)
	stored := 3 + int(-(d.out.n+3)&7) + 32 + (parts-1)*40 + len(src)*8
	best := min(dynamic, fixed, stored)
	if best > d.out.room() {
		return false
	}
	last := uint32(0)
	if final {
		last = 1
	}
	switch best {
	case stored:
		d.stored(src, last)
	case fixed:
		d.out.put(last|1<<1, 3)
		d.lit.fixed(fixedLitLens[:])
		d.dist.fixed(fixedDistLens[:])
		d.emit(tokens)
	default:
		d.out.put(last|2<<1, 3)
		d.pre.emit(&d.out)
		d.emit(tokens)
	}
	return true
}

// stored copies src into as many stored blocks as it takes.
func (d *Deflater) stored(src []byte, last uint32) {
	for {
		n := min(len(src), 0xffff)
		final := last
		if n < len(src) {
			final = 0
		}
		d.out.put(final, 3)
		d.out.align()
		binary.LittleEndian.PutUint16(d.out.dst[d.out.at:], uint16(n))
		binary.LittleEndian.PutUint16(d.out.dst[d.out.at+2:], ^uint16(n))
		copy(d.out.dst[d.out.at+4:], src[:n])
		d.out.at += 4 + n
		src = src[n:]
		if len(src) == 0 {
			return
		}
	}
}

// emit writes the tokens and the end of the block. There is no branch on what a token is, as that is what cannot be
// foretold. Near the end of dst, where a word no longer fits, it goes on byte by byte.
func (d *Deflater) emit(tokens []uint32) {
	d.packCodes()
	dst, at, bits, n := d.out.dst, d.out.at, d.out.bits, d.out.n
	for len(tokens) > 0 && len(dst)-at >= 8 {
		t := tokens[0]
		tokens = tokens[1:]
		e := d.packed[t&1023]
		bits |= uint64(e&0xffffff) << (n & 63)
		n += uint(e >> 24)
		e = d.packedDist[t>>10&31]
		bits |= uint64(e&0xffff|t>>15<<(e>>16&15)) << (n & 63)
		n += uint(e >> 24)
		binary.LittleEndian.PutUint64(dst[at:], bits)
		at += int(n >> 3)
		bits >>= n & 56
		n &= 7
	}
	d.out.at, d.out.bits, d.out.n = at, bits, n
	for _, t := range tokens {
		e := d.packed[t&1023]
		d.out.put(e&0xffffff, uint(e>>24))
		d.out.flushBytes()
		e = d.packedDist[t>>10&31]
		d.out.put(e&0xffff|t>>15<<(e>>16&15), uint(e>>24))
		d.out.flushBytes()
	}
	d.out.put(uint32(d.lit.codes[256]), uint(d.lit.lens[256]))
	d.out.flushBytes()
}

// flushBytes writes the whole bytes out.
func (w *bitWriter) flushBytes() {
	for w.n >= 8 {
		w.dst[w.at] = byte(w.bits)
		w.at++
		w.bits >>= 8
		w.n -= 8
	}
}

// packCodes makes the tables of what is written for each part of a token: of a byte or length the bits, with the extra
// ones, in bits 0-23 and their number in bits 24-31; of a distance the code in bits 0-15, its length in bits 16-19 and
// that with the extra bits in bits 24-31.
func (d *Deflater) packCodes() {
	for b := range 256 {
		d.packed[b] = uint32(d.lit.codes[b]) | uint32(d.lit.lens[b])<<24
	}
	for length := minMatch; length <= maxMatch; length++ {
		sym := lengthSymbol[length]
		n := uint32(d.lit.lens[sym])
		base, extra := litEntries[sym]>>lengthAt&lengthMask, litEntries[sym]&63
		d.packed[256+length] = uint32(d.lit.codes[sym]) | (uint32(length)-base)<<n | (n+extra)<<24
	}
	for sym := range noDistance {
		n := uint32(d.dist.lens[sym])
		d.packedDist[sym] = uint32(d.dist.codes[sym]) | n<<16 | (n+distEntries[sym]&0xff)<<24
	}
}
