package vvfat

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	entrySize = 32
	shortLen  = 11
	baseLen   = 8
	longUnits = 13 // UTF-16 units in one entry of a long name

	attrDir   = 0x10
	attrFile  = 0x20
	attrLabel = 0x28
	attrLong  = 0x0f
)

// directory is a directory being made.
type directory struct {
	entries []byte
	taken   map[[shortLen]byte]bool
	tails   map[[shortLen]byte]int // by name without tail: the first number that may be free
}

func newDirectory() *directory {
	return &directory{taken: map[[shortLen]byte]bool{}, tails: map[[shortLen]byte]int{}}
}

// count is the number of entries.
func (d *directory) count() int { return len(d.entries) / entrySize }

// append adds a short entry and returns its place in entries.
func (d *directory) append(name [shortLen]byte, attr byte) int {
	at := len(d.entries)
	d.taken[name] = true
	d.entries = append(d.entries, make([]byte, entrySize)...)
	copy(d.entries[at:], name[:])
	d.entries[at+shortLen] = attr
	return at
}

// add adds the long and the short entry of a file's name and returns the place of the short one.
func (d *directory) add(name string, attr byte) (int, error) {
	short, err := d.short(name)
	if err != nil {
		return 0, err
	}
	if utf8.ValidString(name) {
		d.long(name, checksum(short))
	}
	return d.append(short, attr), nil
}

// long adds the entries of a long name, its last part first.
func (d *directory) long(name string, sum byte) {
	units := utf16.Encode([]rune(name))
	n := (len(units) + longUnits - 1) / longUnits
	padded := make([]uint16, n*longUnits)
	for i := copy(padded, units) + 1; i < len(padded); i++ {
		padded[i] = 0xffff
	}
	for i := n; i > 0; i-- {
		e := make([]byte, entrySize)
		e[0], e[11], e[13] = byte(i), attrLong, sum
		if i == n {
			e[0] |= 0x40
		}
		for k, u := range padded[(i-1)*longUnits : i*longUnits] {
			at := 1 + 2*k
			if k >= 11 {
				at = 28 + 2*(k-11)
			} else if k >= 5 {
				at = 14 + 2*(k-5)
			}
			binary.LittleEndian.PutUint16(e[at:], u)
		}
		d.entries = append(d.entries, e...)
	}
}

func checksum(name [shortLen]byte) byte {
	var sum byte
	for _, c := range name {
		sum = sum>>1 | sum<<7
		sum += c
	}
	return sum
}

// shortChar is the character of a short name for a byte of a long one, 0 if there is none.
func shortChar(c byte) byte {
	switch {
	case c >= 'a' && c <= 'z':
		return c - 'a' + 'A'
	case c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return c
	case c < utf8.RuneSelf && strings.IndexByte("$%'-_@~`!(){}^#&", c) >= 0:
		return c
	}
	return 0
}

// charLen is how many bytes a character takes by its first one, right or wrong.
func charLen(first byte) int {
	switch {
	case first < 0xc0 || first >= 0xfe:
		return 1
	case first < 0xe0:
		return 2
	case first < 0xf0:
		return 3
	case first < 0xf8:
		return 4
	case first < 0xfc:
		return 5
	}
	return 6
}

// squeeze copies the characters that a short name can have into dst and tells how many, and whether any was left out.
func squeeze(dst []byte, name string) (n int, lossy bool) {
	for len(name) > 0 {
		v := shortChar(name[0])
		if v != 0 && n < len(dst) {
			dst[n] = v
			n++
		} else {
			lossy = true
		}
		name = name[min(charLen(name[0]), len(name)):]
	}
	return n, lossy
}

// short makes the short name: the part before the first dot that is not at the start, and what follows the last dot.
// Where anything was lost or the name is taken, a number is put at its end.
func (d *directory) short(name string) (s [shortLen]byte, err error) {
	copy(s[:], "           ")
	base, ext, lossy := splitName(name)
	n, lost := squeeze(s[:baseLen], base)
	lossy = lossy || lost
	_, lost = squeeze(s[baseLen:], ext)
	lossy = lossy || lost
	plain := s
	if !lossy && !d.taken[s] {
		return s, nil
	}
	for i := max(d.tails[plain], 1); i < 999999; i++ {
		tail := fmt.Sprintf("~%d", i)
		s = plain
		copy(s[min(n, baseLen-len(tail)):], tail)
		if !d.taken[s] {
			d.tails[plain] = i + 1
			return s, nil
		}
	}
	return s, fmt.Errorf("too many names like %q", name)
}

// splitName cuts a name into what the two parts of its short name are made of. Dots at the start, before anything that a
// short name can have, are left out, and of several others only the last counts: lossy is that there were such.
func splitName(name string) (base, ext string, lossy bool) {
	var kept []byte
	started, first, last := false, -1, -1
	for i := 0; i < len(name); i += charLen(name[i]) {
		switch {
		case name[i] == '.' && !started:
			lossy = true
		case name[i] == '.':
			if first < 0 {
				first = i
			} else {
				lossy = true
			}
			last = i
		case first < 0:
			kept = append(kept, name[i:min(i+charLen(name[i]), len(name))]...)
			started = started || shortChar(name[i]) != 0
		}
	}
	if last >= 0 {
		ext = name[last+1:]
	}
	return string(kept), ext, lossy
}
