package codec

import "sync"

// Sizes of the look-up tables. The first litRoot (distRoot, preRoot) bits of the input index the table; longer codes
// go on in a second table behind it. The sizes are the next powers of two above the worst case of the second tables,
// so that an index needs a mask and no bounds check.
const (
	maxLitCodes  = 288
	maxDistCodes = 32
	preCodes     = 19

	litRoot  = 11
	distRoot = 9
	preRoot  = 7

	litTableSize  = 4096 // at most 2342 are used
	distTableSize = 1024 // at most 594 are used
	preTableSize  = 128

	maxCodeLen = 15
)

// A table entry. Bits 0-5 are the number of bits to drop: codes and extra bits together. An entry of the table of
// literals and lengths stands for up to two literals, or for a length that may follow one literal: whatever the bits of
// the index hold as a whole. Bits 6-7 are the number of literals, bits 8-15 the first of them. Then
//
//	literals         the second one in bits 16-23
//	length           bit 30 set, the base value in bits 16-24, the length of the codes without extra bits in 25-28
//	special          bit 31 set, and bit 30 (second table: its start in bits 12-24, its index bits in 8-11),
//	                 or bit 29 (end of block), or neither: no such code
//
// An entry of the table of distances has the base value in bits 16-30 and the length of the code alone in bits 8-11, or
// is special.
const (
	entrySpecial = 1 << 31
	entrySecond  = 1 << 30 // of a special entry
	entryEnd     = 1 << 29 // of a special entry
	entryInvalid = entrySpecial
	entryLength  = 1 << 30 // whatever is not less is a length or special

	literalOne  = 1 << 6 // one literal more
	literalAt   = 8
	secondLitAt = 16
	lengthAt    = 16
	lengthMask  = 1<<9 - 1
	lengthCode  = 25
	distAt      = 16
	distMask    = 1<<15 - 1
	distCode    = 8
	preCode     = 8
	codeMask    = 15
	widthAt     = 8
	startAt     = 12
	startMask   = 1<<13 - 1
)

// litEntries, distEntries and preEntries give each symbol's entry without its code's length, which is added to the
// extra bits in bits 0-5 and, where there may be such, to the place of the length without them.
var (
	litEntries  [maxLitCodes]uint32
	joinEntries [maxLitCodes]uint32
	distEntries [maxDistCodes]uint32
	preEntries  [preCodes]uint32
)

// makeTables fills the tables that never change, for the first stream: most runs of the program meet none.
var makeTables = sync.OnceFunc(func() {
	litEntries, distEntries, preEntries = litLenEntries(), distanceEntries(), preCodeEntries()
	joinEntries = joiningEntries()
	fixedLitLens = fixedLitLengths()
	for i := range fixedDistLens {
		fixedDistLens[i] = 5
	}
	lengthSymbol, distSymbols = lengthSymbols(), distanceSymbols()
})

// litLenEntries follows the table of RFC 1951, 3.2.5; 286 and 287 take part in codes but may not occur.
func litLenEntries() (t [maxLitCodes]uint32) {
	for i := range 256 {
		t[i] = literalOne | uint32(i)<<literalAt
	}
	t[256] = entrySpecial | entryEnd
	base := uint32(3)
	for i := range 28 {
		extra := uint32(0)
		if i >= 8 {
			extra = uint32(i/4 - 1)
		}
		t[257+i] = entryLength | base<<lengthAt | extra
		base += 1 << extra
	}
	t[285] = entryLength | 258<<lengthAt
	t[286], t[287] = entryInvalid, entryInvalid
	return t
}

// joiningEntries are what the symbols add to the entry of a literal before them. The end and what is invalid stand alone.
func joiningEntries() (t [maxLitCodes]uint32) {
	for i := range 256 {
		t[i] = literalOne | uint32(i)<<secondLitAt
	}
	copy(t[257:286], litEntries[257:286])
	return t
}

func distanceEntries() (t [maxDistCodes]uint32) {
	base := uint32(1)
	for i := range 30 {
		extra := uint32(0)
		if i >= 4 {
			extra = uint32(i/2 - 1)
		}
		t[i] = base<<distAt | extra
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
	fixedLitLens  [maxLitCodes]uint8
	fixedDistLens [maxDistCodes]uint8
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
