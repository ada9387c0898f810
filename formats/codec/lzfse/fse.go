package lzfse

import (
	"encoding/binary"
	"math/bits"

	"platter/formats/codec"
)

// symbolEntry is what a state of the literals' coder stands for: the byte, and the next state less the bits read.
type symbolEntry struct {
	bits   uint8
	symbol uint8
	next   int16
}

// valueEntry is what a state of the other coders stands for. The bits that are read hold those of the state first
// (highest), then those of the value.
type valueEntry struct {
	bits      uint8 // all
	valueBits uint8
	next      int16
	base      uint32
}

// spread calls set for each state with the symbol it stands for, its number of bits and its next state. The states of
// a symbol follow each other; those with one bit more come first. It reports false if there are more than states.
func spread(freq []uint16, states int, set func(state, symbol int, bits uint8, next int16)) bool {
	at := 0
	for symbol, f := range freq {
		n := int(f)
		if at+n > states {
			return false
		}
		if n == 0 {
			continue
		}
		k := bits.Len(uint(states)) - bits.Len(uint(n)) // states <= n<<k < 2*states
		wide := 2*states>>k - n
		for j := range n {
			if j < wide {
				set(at+j, symbol, uint8(k), int16((n+j)<<k-states))
			} else {
				set(at+j, symbol, uint8(k-1), int16((j-wide)<<(k-1)))
			}
		}
		at += n
	}
	return true
}

// tables makes the four decoding tables from the header's frequencies.
func (z *Decoder) tables() error {
	z.literal = [literalStates]symbolEntry{}
	ok := spread(z.head.literalFreq(), literalStates, func(state, symbol int, bits uint8, next int16) {
		z.literal[state] = symbolEntry{bits, uint8(symbol), next}
	})
	ok = ok && values(z.l[:], z.head.lFreq(), literalLenBits[:])
	ok = ok && values(z.m[:], z.head.mFreq(), matchLenBits[:])
	ok = ok && values(z.d[:], z.head.dFreq(), distBits[:])
	if !ok {
		return codec.ErrCorrupt
	}
	return nil
}

// values makes a table for values that are made of a base for each symbol and a number of bits, where each symbol's
// base is the end of the one before.
func values(table []valueEntry, freq []uint16, valueBits []uint8) bool {
	clear(table)
	var base [distSymbols]uint32
	for i, n := range valueBits[:len(valueBits)-1] {
		base[i+1] = base[i] + 1<<n
	}
	return spread(freq, len(table), func(state, symbol int, bits uint8, next int16) {
		n := valueBits[symbol]
		table[state] = valueEntry{bits + n, n, next, base[symbol]}
	})
}

// The bits of each symbol's value.
var (
	literalLenBits = [lengthSymbols]uint8{16: 2, 3, 5, 8}
	matchLenBits   = [lengthSymbols]uint8{16: 3, 5, 8, 11}
	distBits       = distanceBits()
)

func distanceBits() (t [distSymbols]uint8) {
	for i := range t {
		t[i] = uint8(i / 4)
	}
	return t
}

// backward reads bits from the end of src to its start, highest bit first.
type backward struct {
	src []byte
	pos int // bits before the next one
	bad bool
}

// pull reads n bits, at most 32. Before the start of src there are only zeroes, and bad is set.
func (b *backward) pull(n uint8) uint32 {
	b.pos -= int(n)
	if b.pos < 0 {
		b.pos, b.bad = 0, true
		return 0
	}
	at := b.pos >> 3
	var word uint64
	if at+8 <= len(b.src) {
		word = binary.LittleEndian.Uint64(b.src[at:])
	} else {
		for i, c := range b.src[at:] {
			word |= uint64(c) << (8 * i)
		}
	}
	return uint32(word >> (b.pos & 7) & (1<<n - 1))
}

func (e *valueEntry) read(b *backward, state *uint16) int {
	v := b.pull(e.bits)
	*state = uint16(int(e.next) + int(v>>e.valueBits))
	return int(e.base + v&(1<<e.valueBits-1))
}

// block decodes the body of an LZFSE block whose header of head bytes at the start of src has been read. Both bit
// streams may, as far as the format goes, begin before their own first byte, so they are given all of the block.
func (z *Decoder) block(dst []byte, out int, src []byte, head int) (n, used int, err error) {
	h := &z.head
	used = head + h.literalPayload + h.lmdPayload
	if used > len(src) {
		return out, 0, codec.ErrTruncated
	}
	// Symbols may take no bits and give no bytes, so their number is bounded by the output they are for.
	if z.budget -= h.literals + h.matches; z.budget < 0 {
		return out, 0, codec.ErrCorrupt
	}
	if err := z.tables(); err != nil {
		return out, 0, err
	}
	in := backward{src: src[:head+h.literalPayload]}
	in.pos = len(in.src)*8 + h.literalBits
	state := h.literalState
	for i := 0; i < h.literals; i += 4 {
		for j := range state {
			e := &z.literal[state[j]&(literalStates-1)]
			z.bytes[i+j] = e.symbol
			state[j] = uint16(int(e.next) + int(in.pull(e.bits)))
		}
	}
	if in.bad {
		return out, 0, codec.ErrCorrupt
	}
	n, err = z.triplets(dst, out, src[:used])
	return n, used, err
}

// triplets decodes the matches and puts them together with the literals.
func (z *Decoder) triplets(dst []byte, out int, src []byte) (int, error) {
	h := &z.head
	in := backward{src: src, pos: len(src)*8 + h.lmdBits}
	literals := z.bytes[:h.literals]
	l, m, d := h.l, h.m, h.d
	dist := 0
	for range h.matches {
		length := z.l[l&(lengthStates-1)].read(&in, &l)
		match := z.m[m&(lengthStates-1)].read(&in, &m)
		if v := z.d[d&(distStates-1)].read(&in, &d); v != 0 {
			dist = v
		}
		if in.bad || length > len(literals) {
			return out, codec.ErrCorrupt
		}
		k := copy(dst[out:], literals[:length])
		out += k
		if k < length {
			return out, codec.ErrTooLarge
		}
		literals = literals[length:]
		if match == 0 {
			continue
		}
		if dist == 0 || dist > out {
			return out, codec.ErrCorrupt
		}
		fits := min(match, len(dst)-out)
		codec.CopyMatch(dst[:out+fits], out, dist)
		out += fits
		if fits < match {
			return out, codec.ErrTooLarge
		}
	}
	return out, nil
}
