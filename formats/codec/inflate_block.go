package codec

import (
	"encoding/binary"
	"unsafe"
)

// The fast loop reads up to 8 bytes ahead twice in a round, and writes up to 6 literals and a match of 258 bytes rounded
// up to the copy's step.
const (
	fastIn  = 16
	fastOut = 6 + 258 + 16
)

// block decodes the symbols of a compressed block with the tables in z.
func (z *Inflater) block(s *inflation) error {
	for {
		if len(s.src)-s.in >= fastIn && len(s.dst)-s.out >= fastOut {
			if done, err := z.fastBlock(s); done {
				return err
			}
		}
		if done, err := z.slowSymbol(s); done {
			return err
		}
	}
}

// fastBlock decodes symbols while both buffers have room for a whole round, so that none is checked for each symbol.
//
// long: the state has to stay in registers.
//
// It goes to memory without bounds checks. What it reads of src is less than fastIn bytes from an index that the loop
// has compared with lastIn; a round moves that index by at most 14. What it writes to dst is less than fastOut bytes
// from an index compared with lastOut; it reads there from that index less a distance which was compared with it, up to
// what it has written.
func (z *Inflater) fastBlock(s *inflation) (done bool, err error) {
	src, dst := unsafe.Pointer(unsafe.SliceData(s.src)), unsafe.Pointer(unsafe.SliceData(s.dst))
	in, out, bits, nbits := s.in, s.out, s.bits, uint64(s.nbits)
	lastIn, lastOut := len(s.src)-fastIn, len(s.dst)-fastOut
	lit, dist := &z.lit, &z.dist
	for in <= lastIn && out <= lastOut {
		// Of nbits only the lower 6 bits count: the rest is what else an entry holds.
		bits |= load64(src, in) << (nbits & 63)
		in += int(7 - nbits>>3&7)
		nbits |= 56

		// Three entries of the root table without a length take at most 33 of the 56 bits, and a fourth of the second
		// table 20.
		e := lit[bits&(1<<litRoot-1)]
		store16(dst, out, e>>literalAt)
		out += int(e >> 6 & 3)
		before := bits
		bits >>= e & 63
		nbits -= uint64(e)
		if e < entryLength {
			e = lit[bits&(1<<litRoot-1)]
			store16(dst, out, e>>literalAt)
			out += int(e >> 6 & 3)
			before = bits
			bits >>= e & 63
			nbits -= uint64(e)
			if e < entryLength {
				e = lit[bits&(1<<litRoot-1)]
				store16(dst, out, e>>literalAt)
				out += int(e >> 6 & 3)
				before = bits
				bits >>= e & 63
				nbits -= uint64(e)
				if e < entryLength {
					continue
				}
			}
		}
		if e >= entrySpecial {
			if e&entrySecond != 0 {
				e = lit[(uint64(e>>startAt&startMask)+bits&(1<<(e>>widthAt&15)-1))&(litTableSize-1)]
				store16(dst, out, e>>literalAt)
				out += int(e >> 6 & 3)
				before = bits
				bits >>= e & 63
				nbits -= uint64(e)
				if e < entryLength {
					continue
				}
			}
			if e >= entrySpecial {
				done = true
				if e&entryEnd == 0 {
					err = ErrCorrupt
				}
				break
			}
		}
		length := int(e>>lengthAt&lengthMask) + int(before&(1<<(e&63)-1)>>(e>>lengthCode&codeMask))

		bits |= load64(src, in) << (nbits & 63)
		in += int(7 - nbits>>3&7)
		nbits |= 56
		e = dist[bits&(1<<distRoot-1)]
		if e >= entrySpecial {
			if e&entrySecond != 0 {
				bits >>= distRoot
				nbits -= distRoot
				e = dist[(uint64(e>>startAt&startMask)+bits&(1<<(e>>widthAt&15)-1))&(distTableSize-1)]
			}
			if e >= entrySpecial {
				done, err = true, ErrCorrupt
				break
			}
		}
		d := int(e>>distAt) + int(bits&(1<<(e&63)-1)>>(e>>distCode&codeMask))
		bits >>= e & 63
		nbits -= uint64(e)
		if d > out {
			done, err = true, ErrCorrupt
			break
		}
		end := out + length
		switch {
		case d >= 16:
			copy16(dst, out, out-d)
			for out += 16; out < end; out += 16 {
				copy16(dst, out, out-d)
			}
		case d >= 8:
			for ; out < end; out += 8 {
				copy8(dst, out, out-d)
			}
		default: // eight bytes one by one; from then on it repeats at a distance that is long enough
			for k := out; k < out+8; k++ {
				copy1(dst, k, k-d)
			}
			d = int(longEnough[d&7])
			for out += 8; out < end; out += 8 {
				copy8(dst, out, out-d)
			}
		}
		out = end
	}
	s.in, s.out, s.bits, s.nbits = in, out, bits, uint(nbits&63)
	return done, err
}

// longEnough has the first multiple of a distance that is not less than 8.
var longEnough = [8]uint8{0, 8, 8, 9, 8, 10, 12, 14}

// load64, store16, copy1, copy8 and copy16 are moves of memory at indices that the caller has checked. The compiler makes one or two
// instructions of each.
func load64(p unsafe.Pointer, at int) uint64 {
	return binary.LittleEndian.Uint64((*[8]byte)(unsafe.Add(p, at))[:])
}

func store16(p unsafe.Pointer, at int, v uint32) {
	binary.LittleEndian.PutUint16((*[2]byte)(unsafe.Add(p, at))[:], uint16(v))
}

func copy1(p unsafe.Pointer, to, from int) {
	*(*byte)(unsafe.Add(p, to)) = *(*byte)(unsafe.Add(p, from))
}

func copy8(p unsafe.Pointer, to, from int) {
	*(*[8]byte)(unsafe.Add(p, to)) = *(*[8]byte)(unsafe.Add(p, from))
}

func copy16(p unsafe.Pointer, to, from int) {
	*(*[16]byte)(unsafe.Add(p, to)) = *(*[16]byte)(unsafe.Add(p, from))
}

// CopyMatch fills dst from out to its end with the bytes from dist bytes before out on, where the copy may run into
// what it has written: the match of an LZ77 decoder. dist must be from 1 to out.
func CopyMatch(dst []byte, out, dist int) {
	b := dst[out-dist:]
	for dist < len(b) {
		dist += copy(b[dist:], b[:dist])
	}
}

// slowSymbol decodes one symbol near the end of a buffer, or one of two literals.
func (z *Inflater) slowSymbol(s *inflation) (done bool, err error) {
	s.fill()
	e := z.lit[s.bits&(1<<litRoot-1)]
	dropped := uint(0)
	if e >= entrySpecial && e&entrySecond != 0 {
		dropped = litRoot
		s.drop(dropped)
		e = z.lit[(uint64(e>>startAt&startMask)+s.bits&(1<<(e>>widthAt&15)-1))&(litTableSize-1)]
	}
	if e < entrySpecial && e>>6&3 != 0 {
		return z.slowLiteral(s, byte(e>>literalAt), dropped)
	}
	extra := s.bits & (1<<(e&63) - 1) >> (e >> lengthCode & codeMask)
	s.drop(uint(e & 63))
	switch {
	case s.overrun():
		return true, ErrTruncated
	case e >= entrySpecial:
		if e&entryEnd == 0 {
			return true, ErrCorrupt
		}
		return true, nil
	}
	length := int(e>>lengthAt&lengthMask) + int(extra)

	s.fill()
	e = z.dist[s.bits&(1<<distRoot-1)]
	if e >= entrySpecial && e&entrySecond != 0 {
		s.drop(distRoot)
		e = z.dist[(uint64(e>>startAt&startMask)+s.bits&(1<<(e>>widthAt&15)-1))&(distTableSize-1)]
	}
	d := int(e>>distAt&distMask) + int(s.bits&(1<<(e&63)-1)>>(e>>distCode&codeMask))
	s.drop(uint(e & 63))
	switch {
	case s.overrun():
		return true, ErrTruncated
	case e >= entrySpecial || d > s.out:
		return true, ErrCorrupt
	}
	fits := min(length, len(s.dst)-s.out)
	CopyMatch(s.dst[:s.out+fits], s.out, d)
	s.out += fits
	if fits < length {
		return true, ErrTooLarge
	}
	return false, nil
}

// slowLiteral takes the first literal of an entry and leaves what else it stands for. z.lens still says how long its
// code is.
func (z *Inflater) slowLiteral(s *inflation, v byte, dropped uint) (done bool, err error) {
	s.drop(uint(z.lens[v]) - dropped)
	switch {
	case s.overrun():
		return true, ErrTruncated
	case s.out == len(s.dst):
		return true, ErrTooLarge
	}
	s.dst[s.out] = v
	s.out++
	return false, nil
}
