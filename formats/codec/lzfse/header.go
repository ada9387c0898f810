package lzfse

import (
	"encoding/binary"

	"platter/formats/codec"
)

// Sizes of the alphabets and of the coders' state spaces, and what a block may hold.
const (
	lengthSymbols  = 20
	distSymbols    = 64
	literalSymbols = 256
	allSymbols     = 2*lengthSymbols + distSymbols + literalSymbols

	lengthStates  = 64
	distStates    = 256
	literalStates = 1024

	maxLiterals = 40000
	maxMatches  = 10000

	headerV1Len = 50 + 2*allSymbols + 2 // with the padding of the C structure that it is
	headerV2Len = 32
)

// header is what the two kinds of block header say.
type header struct {
	raw            int // bytes that the block gives
	literals       int
	matches        int
	literalPayload int // bytes of the literals' bit stream, and of the triplets' one behind it
	lmdPayload     int
	literalBits    int // bits of the last byte that are not used, as a number from -7 to 0
	lmdBits        int
	literalState   [4]uint16
	l, m, d        uint16
	freq           [allSymbols]uint16 // of literal lengths, match lengths, distances and literals
}

// readV1 reads a header with plain tables and returns its length.
func (h *header) readV1(src []byte) (int, error) {
	if len(src) < headerV1Len {
		return 0, codec.ErrTruncated
	}
	le := binary.LittleEndian
	h.raw = int(le.Uint32(src[4:]))
	payload := le.Uint32(src[8:])
	literals, matches := le.Uint32(src[12:]), le.Uint32(src[16:])
	literalPayload, lmdPayload := le.Uint32(src[20:]), le.Uint32(src[24:])
	if literals > maxLiterals || matches > maxMatches || uint64(literalPayload)+uint64(lmdPayload) != uint64(payload) {
		return 0, codec.ErrCorrupt
	}
	h.literals, h.matches = int(literals), int(matches)
	h.literalPayload, h.lmdPayload = int(literalPayload), int(lmdPayload)
	h.literalBits = int(int32(le.Uint32(src[28:])))
	for i := range h.literalState {
		h.literalState[i] = le.Uint16(src[32+2*i:])
	}
	h.lmdBits = int(int32(le.Uint32(src[40:])))
	h.l, h.m, h.d = le.Uint16(src[44:]), le.Uint16(src[46:]), le.Uint16(src[48:])
	for i := range h.freq {
		h.freq[i] = le.Uint16(src[50+2*i:])
	}
	return headerV1Len, h.check()
}

// readV2 reads a header with packed fields and tables and returns its length.
func (h *header) readV2(src []byte) (int, error) {
	if len(src) < headerV2Len {
		return 0, codec.ErrTruncated
	}
	field := func(word, low, n int) int {
		return int(binary.LittleEndian.Uint64(src[8+8*word:]) >> low & (1<<n - 1))
	}
	h.raw = int(binary.LittleEndian.Uint32(src[4:]))
	h.literals, h.literalPayload, h.matches = field(0, 0, 20), field(0, 20, 20), field(0, 40, 20)
	h.literalBits = field(0, 60, 3) - 7
	for i := range h.literalState {
		h.literalState[i] = uint16(field(1, 10*i, 10))
	}
	h.lmdPayload, h.lmdBits = field(1, 40, 20), field(1, 60, 3)-7
	size := field(2, 0, 32)
	h.l, h.m, h.d = uint16(field(2, 32, 10)), uint16(field(2, 42, 10)), uint16(field(2, 52, 10))
	if size < headerV2Len {
		return 0, codec.ErrCorrupt
	}
	if size > len(src) {
		return 0, codec.ErrTruncated
	}
	if err := h.unpackFreq(src[headerV2Len:size]); err != nil {
		return 0, err
	}
	return size, h.check()
}

// unpackFreq reads the frequencies, each in a prefix code of 2 to 14 bits, first bit lowest. No tables at all means that
// nothing occurs.
func (h *header) unpackFreq(src []byte) error {
	clear(h.freq[:])
	if len(src) == 0 {
		return nil
	}
	var bits uint64
	n := 0
	for i := range h.freq {
		for n <= 56 && len(src) > 0 {
			bits |= uint64(src[0]) << n
			src = src[1:]
			n += 8
		}
		value, used := frequency(uint32(bits))
		if used > n {
			return codec.ErrCorrupt
		}
		h.freq[i] = value
		bits >>= used
		n -= used
	}
	if n >= 8 || len(src) > 0 {
		return codec.ErrCorrupt
	}
	return nil
}

// frequency reads one frequency: 00 is 0, 10 is 1, 001 is 2, 101 is 3, then 011, 0111 and 1111 with 2, 4 and 10 bits
// more, where the first of these is written at the right.
func frequency(bits uint32) (value uint16, used int) {
	switch bits & 3 {
	case 0:
		return 0, 2
	case 2:
		return 1, 2
	case 1:
		return 2 + uint16(bits>>2&1), 3
	}
	switch {
	case bits&4 == 0:
		return 4 + uint16(bits>>3&3), 5
	case bits&8 == 0:
		return 8 + uint16(bits>>4&15), 8
	}
	return 24 + uint16(bits>>4&1023), 14
}

// check tests what the tables and streams rely on.
func (h *header) check() error {
	for _, s := range h.literalState {
		if s >= literalStates {
			return codec.ErrCorrupt
		}
	}
	if h.literals > maxLiterals || h.matches > maxMatches || h.literals%4 != 0 ||
		h.l >= lengthStates || h.m >= lengthStates || h.d >= distStates ||
		h.literalBits < -7 || h.literalBits > 0 || h.lmdBits < -7 || h.lmdBits > 0 {
		return codec.ErrCorrupt
	}
	return nil
}

// The four parts of the frequencies.
func (h *header) lFreq() []uint16       { return h.freq[:lengthSymbols] }
func (h *header) mFreq() []uint16       { return h.freq[lengthSymbols : 2*lengthSymbols] }
func (h *header) dFreq() []uint16       { return h.freq[2*lengthSymbols : 2*lengthSymbols+distSymbols] }
func (h *header) literalFreq() []uint16 { return h.freq[2*lengthSymbols+distSymbols:] }
