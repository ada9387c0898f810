package codec

import (
	"bytes"
	"encoding/binary"
)

// IsZero reports whether all bytes of b are zero; an empty b is. Data that is not zero mostly shows it at the first,
// middle or last word, so these are looked at before the rest; the full look compares b with itself shifted by one,
// which runs at the speed of memory.
func IsZero(b []byte) bool {
	n := len(b)
	if n < 8 {
		for _, c := range b {
			if c != 0 {
				return false
			}
		}
		return true
	}
	first, middle, last := b[:8], b[(n-8)/2:], b[n-8:]
	if binary.LittleEndian.Uint64(first)|binary.LittleEndian.Uint64(middle)|binary.LittleEndian.Uint64(last) != 0 {
		return false
	}
	return bytes.Equal(b[8:], b[:n-8])
}
