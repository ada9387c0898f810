package codec

import (
	"encoding/binary"
)

const (
	sampleStep = 4096 // one sample is taken from each such part of the input,
	sampleLen  = 128  // of that many bytes
	sampleMin  = 16384
)

// looksRandom reports whether b is surely not worth compressing: its bytes are spread evenly, as far as samples show,
// and no string of it comes again within the next 4 KiB. It costs about a twentieth of a compression, and says false if
// in doubt. Encrypted, compressed and media data is what it finds.
func looksRandom(b []byte) bool {
	return len(b) >= sampleMin && evenBytes(b) && !repeats(b)
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

// repeats looks for strings that come again. It keeps only positions whose hash has certain bits, a sixteenth of all, so
// that a long repeated string is met whatever its distance is.
func repeats(b []byte) bool {
	var last [512]uint16
	hits, limit := 0, len(b)>>10
	for i := 0; i+8 <= len(b); i++ {
		h := binary.LittleEndian.Uint32(b[i:]) * 0x9e3779b1
		if h>>28 != 0 {
			continue
		}
		slot := &last[h>>19&511]
		d := int(uint16(i) - *slot)
		*slot = uint16(i)
		if d > 0 && d <= i && d <= 32768 && binary.LittleEndian.Uint64(b[i:]) == binary.LittleEndian.Uint64(b[i-d:]) {
			if hits++; hits > limit {
				return true
			}
		}
	}
	return false
}
