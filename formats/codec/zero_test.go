package codec

import "testing"

func TestIsZero(t *testing.T) {
	for n := range 70 {
		b := make([]byte, n)
		if !IsZero(b) {
			t.Errorf("%d zero bytes are not zero", n)
		}
		for i := range b {
			b[i] = 1
			if IsZero(b) {
				t.Errorf("%d bytes with a one at %d are zero", n, i)
			}
			b[i] = 0
		}
	}
}
