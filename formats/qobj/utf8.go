package qobj

// decode reads one code point from the front of s (not empty) and the number of bytes it took; the code point is -1
// if they are no valid sequence. The encoding is QEMU's: UTF-8 in which NUL may be written as C0 80, surrogates and
// noncharacters are invalid, and an invalid sequence takes its lead byte with the continuation bytes that belong to
// it, so that it is replaced by a single U+FFFD.
func decode(s string) (cp rune, n int) {
	lead := s[0]
	if lead < 0x80 {
		return rune(lead), 1
	}
	size, least := 0, rune(0)
	switch {
	case lead < 0xc0 || lead >= 0xfe:
		return -1, 1
	case lead < 0xe0:
		size, least = 2, 0x80
	case lead < 0xf0:
		size, least = 3, 0x800
	case lead < 0xf8:
		size, least = 4, 0x10000
	case lead < 0xfc:
		size, least = 5, 0x200000
	default:
		size, least = 6, 0x4000000
	}
	cp = rune(lead) & (1<<(7-size) - 1)
	for n = 1; n < size; n++ {
		if n >= len(s) || s[n]&0xc0 != 0x80 {
			return -1, n
		}
		cp = cp<<6 | rune(s[n]&0x3f)
	}
	longNUL := cp == 0 && size == 2
	if !validRune(cp) || cp < least && !longNUL {
		return -1, n
	}
	return cp, n
}

// validRune says whether cp may be interchanged: in range, no surrogate, no noncharacter.
func validRune(cp rune) bool {
	switch {
	case cp < 0 || cp > 0x10ffff:
		return false
	case cp >= 0xd800 && cp <= 0xdfff:
		return false
	case cp >= 0xfdd0 && cp <= 0xfdef:
		return false
	}
	return cp&0xfffe != 0xfffe
}
