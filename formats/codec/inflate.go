package codec

import (
	"encoding/binary"
	"hash/adler32"
)

// Inflater decodes deflate streams. The zero value is ready; it holds about 20 KiB of tables and is reused from call to
// call without allocating.
type Inflater struct {
	lit  [litTableSize]uint32
	dist [distTableSize]uint32
	pre  [preTableSize]uint32
	lens [maxLitCodes + maxDistCodes]uint8

	codes  codes // while a table is built
	follow [1 << (litRoot - 1)]uint32

	fixed bool // lit and dist hold the tables of fixed blocks
}

// inflation is the state of one call.
type inflation struct {
	src, dst []byte
	in, out  int    // bytes taken from src, bytes written to dst
	bits     uint64 // bit buffer, next bit lowest; what lies above nbits repeats the bytes from in on
	nbits    uint
	virtual  uint // zero bytes put behind the end of src so that the last symbols can be looked up
}

// Raw decodes one raw deflate stream (RFC 1951) at the start of src into dst. It returns how many bytes it wrote and
// how many bytes of src the stream takes; src may go on behind it. Distances up to 32 KiB are taken whatever window the
// writer promised, as zlib does when a cluster is decoded in one call.
//
// A stream of more than len(dst) bytes is ErrTooLarge, and dst is full. With every error, dst[:produced] holds what the
// stream gave until then. Bytes of dst from produced on may have been overwritten.
func (z *Inflater) Raw(dst, src []byte) (produced, consumed int, err error) {
	makeTables()
	s := inflation{src: src, dst: dst}
	for {
		s.fill()
		final := s.bits & 1
		kind := s.bits >> 1 & 3
		s.drop(3)
		if s.overrun() {
			return s.out, len(src), ErrTruncated
		}
		switch kind {
		case 0:
			err = s.stored()
		case 1:
			z.fixedTables()
			err = z.block(&s)
		case 2:
			if err = z.dynamicTables(&s); err == nil {
				err = z.block(&s)
			}
		default:
			err = ErrCorrupt
		}
		if err != nil || final != 0 {
			return s.out, s.consumed(), err
		}
	}
}

// Zlib decodes one zlib stream (RFC 1950) at the start of src into dst like Raw, and checks its header and its Adler-32
// checksum. A preset dictionary is ErrCorrupt, as no image format has one.
func (z *Inflater) Zlib(dst, src []byte) (produced, consumed int, err error) {
	if len(src) < 2 {
		return 0, len(src), ErrTruncated
	}
	head := binary.BigEndian.Uint16(src)
	if head>>8&15 != 8 || head>>12 > 7 || head%31 != 0 || head&0x20 != 0 {
		return 0, 0, ErrCorrupt
	}
	produced, consumed, err = z.Raw(dst, src[2:])
	consumed += 2
	if err != nil {
		return produced, consumed, err
	}
	if len(src)-consumed < 4 {
		return produced, len(src), ErrTruncated
	}
	if binary.BigEndian.Uint32(src[consumed:]) != adler32.Checksum(dst[:produced]) {
		return produced, consumed, ErrChecksum
	}
	return produced, consumed + 4, nil
}

// Fill decodes the raw stream in src until dst is full and does not care what follows: the stream may end there, go on,
// or be cut off by the end of src. That is how clusters of qcow and qcow2 are read, whose stored length is
// only an upper bound. A stream that gives fewer bytes is ErrTruncated.
func (z *Inflater) Fill(dst, src []byte) error {
	n, _, err := z.Raw(dst, src)
	switch {
	case err == ErrCorrupt:
		return err
	case n < len(dst):
		return ErrTruncated
	}
	return nil
}

// fill brings the bit buffer to at least 56 bits, with zero bytes where src has ended.
func (s *inflation) fill() {
	if len(s.src)-s.in >= 8 {
		s.bits |= binary.LittleEndian.Uint64(s.src[s.in:]) << (s.nbits & 63)
		s.in += int((63 - s.nbits) >> 3)
		s.nbits |= 56
		return
	}
	for s.nbits < 56 {
		if s.in < len(s.src) {
			s.bits |= uint64(s.src[s.in]) << s.nbits
			s.in++
		} else {
			s.virtual++
		}
		s.nbits += 8
	}
}

func (s *inflation) drop(n uint) {
	s.bits >>= n & 63
	s.nbits -= n
}

// overrun reports whether bits behind the end of src have been used.
func (s *inflation) overrun() bool { return s.virtual*8 > s.nbits }

// consumed returns how many bytes of src hold the bits that have been used.
func (s *inflation) consumed() int {
	if s.overrun() {
		return len(s.src)
	}
	return s.in - int(s.nbits>>3-s.virtual)
}

// stored copies a block of type 0.
func (s *inflation) stored() error {
	s.in = s.consumed()
	s.bits, s.nbits, s.virtual = 0, 0, 0
	if len(s.src)-s.in < 4 {
		s.in = len(s.src)
		return ErrTruncated
	}
	n := binary.LittleEndian.Uint16(s.src[s.in:])
	if n != ^binary.LittleEndian.Uint16(s.src[s.in+2:]) {
		return ErrCorrupt
	}
	s.in += 4
	want := int(n)
	got := copy(s.dst[s.out:], s.src[s.in:min(s.in+want, len(s.src))])
	s.in += got
	s.out += got
	switch {
	case got == want:
		return nil
	case s.out == len(s.dst) && s.in < len(s.src):
		return ErrTooLarge
	}
	return ErrTruncated
}
