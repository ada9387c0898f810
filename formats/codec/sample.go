package codec

import (
	"bytes"
	"encoding/binary"
)

const (
	sampleStep = 4096 // one sample is taken from each such part of the input,
	sampleLen  = 128  // of that many bytes
	sampleMin  = 16384
)

// looksRandom reports whether b is surely not worth compressing: its bytes are spread evenly, as far as samples show,
// and hardly a string of it comes again within the window. It takes a few microseconds for 64 KiB, and says false if in
// doubt. Encrypted, compressed and media data is what it finds.
func looksRandom(b []byte, window int) bool {
	return len(b) >= sampleMin && evenBytes(b) && !repeats(b, window)
}

// evenBytes tests the order-0 statistics of the samples: for n random bytes the squares of the 256 counts add up to
// about n + n*n/256. An eighth above that is some 0.1 bits of entropy a byte.
func evenBytes(b []byte) bool {
	var count [2][256]uint32
	n := 0
	for at := 0; at+sampleLen <= len(b); at += sampleStep {
		s := b[at : at+sampleLen]
		for i := 0; i+1 < len(s); i += 2 {
			count[0][s[i]]++
			count[1][s[i+1]]++
		}
		n += sampleLen
	}
	squares := 0
	for i := range 256 {
		c := int(count[0][i] + count[1][i])
		squares += c * c
	}
	random := n + n*n/256
	return squares < random+n*n/(256*8)+n/8
}

// repeats looks for strings that come again within the window. It looks only at the places where one of four byte values
// stands, of which there is one in 64 bytes of even data, so that a repeated string is met whatever its distance is, and
// finding the places costs next to nothing. Repeats of some 1.5 % of b are enough.
func repeats(b []byte, window int) bool {
	hits, limit := 0, len(b)>>12
	for _, value := range []byte{0, ' ', 0x8b, 0xff} {
		var last [256]uint16
		for i := 0; ; i++ {
			next := bytes.IndexByte(b[i:len(b)-8], value)
			if next < 0 {
				break
			}
			i += next
			v := binary.LittleEndian.Uint64(b[i:])
			slot := &last[v*0x9e3779b97f4a7c15>>56]
			d := int(uint16(i) - *slot)
			*slot = uint16(i)
			if d > 0 && d <= min(i, window) && v == binary.LittleEndian.Uint64(b[i-d:]) {
				if hits++; hits > limit {
					return true
				}
			}
		}
	}
	return false
}
