package codec

import "encoding/binary"

// The code of a match length, and the first length and the number of extra bits of each code (RFC 1951, 3.2.5).
var (
	lengthSymbol = lengthSymbols()
	distSymbols  = distanceSymbols()
)

func lengthSymbols() (t [259]uint16) {
	for sym := 257; sym < 285; sym++ {
		base, extra := litEntries[sym]>>16, litEntries[sym]&0xff
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

// emit writes the tokens and the end of the block. Near the end of dst, where a word no longer fits, it goes on through
// put.
func (d *Deflater) emit(tokens []uint32) {
	d.lengthBits()
	dst, at, bits, n := d.out.dst, d.out.at, d.out.bits, d.out.n
	lastWord := len(dst) - 8
	var packed [256]uint32
	for i := range packed {
		packed[i] = uint32(d.lit.codes[i]) | uint32(d.lit.lens[i])<<24
	}
	i := 0
	for ; i < len(tokens) && at <= lastWord; i++ {
		t := tokens[i]
		if t&tokenMatch == 0 {
			e := packed[t&255]
			bits |= uint64(e&0xffffff) << (n & 63)
			n += uint(e >> 24)
		} else {
			e := d.lens[t>>16&0x1ff]
			bits |= uint64(e&0xffffff) << (n & 63)
			n += uint(e >> 24)
			dist := t & 0x7fff
			sym := distSymbol(dist)
			bits |= uint64(d.dist.codes[sym]) << (n & 63)
			n += uint(d.dist.lens[sym])
			base := distEntries[sym&31]
			bits |= uint64(dist-(base>>16-1)) << (n & 63)
			n += uint(base & 0xff)
		}
		binary.LittleEndian.PutUint64(dst[at:], bits)
		at += int(n >> 3)
		bits >>= n & 56
		n &= 7
	}
	d.out.at, d.out.bits, d.out.n = at, bits, n
	for _, t := range tokens[i:] {
		d.emitToken(t)
	}
	d.out.put(uint32(d.lit.codes[256]), uint(d.lit.lens[256]))
	d.out.flushBytes()
}

// emitToken writes one token byte by byte.
func (d *Deflater) emitToken(t uint32) {
	w := &d.out
	if t&tokenMatch == 0 {
		w.put(uint32(d.lit.codes[t&255]), uint(d.lit.lens[t&255]))
	} else {
		e := d.lens[t>>16&0x1ff]
		w.put(e&0xffffff, uint(e>>24))
		w.flushBytes()
		dist := t & 0x7fff
		sym := distSymbol(dist)
		w.put(uint32(d.dist.codes[sym]), uint(d.dist.lens[sym]))
		w.flushBytes()
		w.put(dist-(distEntries[sym]>>16-1), uint(distEntries[sym]&0xff))
	}
	w.flushBytes()
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

// lengthBits makes the table of the match lengths' codes with their extra bits.
func (d *Deflater) lengthBits() {
	for length := minMatch; length <= maxMatch; length++ {
		sym := lengthSymbol[length]
		n := uint32(d.lit.lens[sym])
		base, extra := litEntries[sym]>>16, litEntries[sym]&0xff
		d.lens[length] = uint32(d.lit.codes[sym]) | (uint32(length)-base)<<n | (n+extra)<<24
	}
}
