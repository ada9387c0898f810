package codec

import "encoding/binary"

// The fast loop reads up to 8 bytes ahead twice in a round, and writes up to 3 literals and a match of 258 bytes
// rounded up to the copy's step.
const (
	fastIn  = 16
	fastOut = 3 + 258 + 16
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

// fastBlock decodes symbols while both buffers have room for a whole round, so that none is checked for each symbol. It
// is one function of this length because the state has to stay in registers.
func (z *Inflater) fastBlock(s *inflation) (done bool, err error) {
	src, dst := s.src, s.dst
	in, out, bits, nbits := s.in, s.out, s.bits, s.nbits
	lastIn, lastOut := len(src)-fastIn, len(dst)-fastOut
	lit, dist := &z.lit, &z.dist
	for in <= lastIn && out <= lastOut {
		bits |= binary.LittleEndian.Uint64(src[in:]) << (nbits & 63)
		in += int((63 - nbits) >> 3)
		nbits |= 56

		// Three literals of the root table take at most 33 of the 56 bits.
		e := lit[bits&(1<<litRoot-1)]
		if e&entryLiteral != 0 {
			bits >>= e & 63
			nbits -= uint(e & 63)
			dst[out] = byte(e >> 16)
			out++
			e = lit[bits&(1<<litRoot-1)]
			if e&entryLiteral != 0 {
				bits >>= e & 63
				nbits -= uint(e & 63)
				dst[out] = byte(e >> 16)
				out++
				e = lit[bits&(1<<litRoot-1)]
				if e&entryLiteral != 0 {
					bits >>= e & 63
					nbits -= uint(e & 63)
					dst[out] = byte(e >> 16)
					out++
					continue
				}
			}
		}
		if e&entrySpecial != 0 {
			if e&entrySecond != 0 {
				bits >>= litRoot
				nbits -= litRoot
				e = lit[(uint64(e>>16&0x7fff)+bits&(1<<(e>>8&15)-1))&(litTableSize-1)]
				if e&entryLiteral != 0 {
					bits >>= e & 63
					nbits -= uint(e & 63)
					dst[out] = byte(e >> 16)
					out++
					continue
				}
			}
			if e&entrySpecial != 0 {
				nbits -= uint(e & 63)
				bits >>= e & 63
				done = true
				if e&entryEnd == 0 {
					err = ErrCorrupt
				}
				break
			}
		}
		length := int(e>>16) + int(bits&(1<<(e&63)-1)>>(e>>8&15))
		bits >>= e & 63
		nbits -= uint(e & 63)

		bits |= binary.LittleEndian.Uint64(src[in:]) << (nbits & 63)
		in += int((63 - nbits) >> 3)
		nbits |= 56
		e = dist[bits&(1<<distRoot-1)]
		if e&entrySpecial != 0 {
			if e&entrySecond != 0 {
				bits >>= distRoot
				nbits -= distRoot
				e = dist[(uint64(e>>16&0x7fff)+bits&(1<<(e>>8&15)-1))&(distTableSize-1)]
			}
			if e&entrySpecial != 0 {
				done, err = true, ErrCorrupt
				break
			}
		}
		d := int(e>>16) + int(bits&(1<<(e&63)-1)>>(e>>8&15))
		bits >>= e & 63
		nbits -= uint(e & 63)
		if d > out {
			done, err = true, ErrCorrupt
			break
		}
		end := out + length
		if d >= 16 {
			for p := out; p < end; p += 16 {
				a := binary.LittleEndian.Uint64(dst[p-d:])
				b := binary.LittleEndian.Uint64(dst[p-d+8:])
				binary.LittleEndian.PutUint64(dst[p:], a)
				binary.LittleEndian.PutUint64(dst[p+8:], b)
			}
		} else {
			CopyMatch(dst[:end], out, d)
		}
		out = end
	}
	s.in, s.out, s.bits, s.nbits = in, out, bits, nbits
	return done, err
}

// CopyMatch fills dst from out to its end with the bytes from dist bytes before out on, where the copy may run into
// what it has written: the match of an LZ77 decoder. dist must be from 1 to out.
func CopyMatch(dst []byte, out, dist int) {
	b := dst[out-dist:]
	for dist < len(b) {
		dist += copy(b[dist:], b[:dist])
	}
}

// slowSymbol decodes one symbol near the end of a buffer.
func (z *Inflater) slowSymbol(s *inflation) (done bool, err error) {
	s.fill()
	e := z.lit[s.bits&(1<<litRoot-1)]
	if e&entrySpecial != 0 && e&entrySecond != 0 {
		s.drop(litRoot)
		e = z.lit[(uint64(e>>16&0x7fff)+s.bits&(1<<(e>>8&15)-1))&(litTableSize-1)]
	}
	extra := s.bits & (1<<(e&63) - 1) >> (e >> 8 & 15)
	s.drop(uint(e & 63))
	switch {
	case s.overrun():
		return true, ErrTruncated
	case e&entryLiteral != 0:
		if s.out == len(s.dst) {
			return true, ErrTooLarge
		}
		s.dst[s.out] = byte(e >> 16)
		s.out++
		return false, nil
	case e&entrySpecial != 0:
		if e&entryEnd == 0 {
			return true, ErrCorrupt
		}
		return true, nil
	}
	length := int(e>>16) + int(extra)

	s.fill()
	e = z.dist[s.bits&(1<<distRoot-1)]
	if e&entrySpecial != 0 && e&entrySecond != 0 {
		s.drop(distRoot)
		e = z.dist[(uint64(e>>16&0x7fff)+s.bits&(1<<(e>>8&15)-1))&(distTableSize-1)]
	}
	d := int(e>>16) + int(s.bits&(1<<(e&63)-1)>>(e>>8&15))
	s.drop(uint(e & 63))
	switch {
	case s.overrun():
		return true, ErrTruncated
	case e&entrySpecial != 0 || d > s.out:
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
