package codec

// preOrder is the order in which the lengths of the code length codes are stored (RFC 1951, 3.2.7).
var preOrder = [preCodes]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// dynamicTables reads the code lengths of a dynamic block (RFC 1951, 3.2.7) and makes its tables. The limits are
// zlib's: at most 286 and 30 codes, an end of block code, and complete codes except for a single code of one bit.
func (z *Inflater) dynamicTables(s *inflation) error {
	z.fixed = false
	s.fill()
	nlit := int(s.bits&31) + 257
	ndist := int(s.bits>>5&31) + 1
	npre := int(s.bits>>10&15) + 4
	s.drop(14)
	if s.overrun() {
		return ErrTruncated
	}
	if nlit > 286 || ndist > 30 {
		return ErrCorrupt
	}
	clear(z.lens[:preCodes])
	for i := range npre {
		if s.nbits < 3 {
			s.fill()
		}
		z.lens[preOrder[i]] = uint8(s.bits & 7)
		s.drop(3)
	}
	if s.overrun() {
		return ErrTruncated
	}
	if !z.codes.sort(z.lens[:preCodes]) || z.codes.space > 0 {
		return ErrCorrupt
	}
	z.codes.fill(z.pre[:], preEntries[:], preRoot, preCode)
	if err := z.readLengths(s, nlit+ndist); err != nil {
		return err
	}
	if z.lens[256] == 0 || !z.litTable(z.lens[:nlit]) || !z.distTable(z.lens[nlit:nlit+ndist]) {
		return ErrCorrupt
	}
	return nil
}

// readLengths reads n code lengths into z.lens.
func (z *Inflater) readLengths(s *inflation, n int) error {
	for i := 0; i < n; {
		if s.nbits < 14 {
			s.fill()
		}
		e := z.pre[s.bits&(preTableSize-1)]
		s.drop(uint(e & 63))
		if s.overrun() {
			return ErrTruncated
		}
		sym := e >> 16
		if sym < 16 {
			z.lens[i] = uint8(sym)
			i++
			continue
		}
		var value uint8
		var count int
		switch sym {
		case 16:
			if i == 0 {
				return ErrCorrupt
			}
			value, count = z.lens[i-1], 3+int(s.bits&3)
			s.drop(2)
		case 17:
			count = 3 + int(s.bits&7)
			s.drop(3)
		default:
			count = 11 + int(s.bits&127)
			s.drop(7)
		}
		if s.overrun() {
			return ErrTruncated
		}
		if i+count > n {
			return ErrCorrupt
		}
		for range count {
			z.lens[i] = value
			i++
		}
	}
	return nil
}
