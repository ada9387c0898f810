package sm3

import (
	"encoding/hex"
	"strings"
	"testing"
)

// The examples of GB/T 32905-2016, appendix A, and every length around a block boundary against one byte at a time.
func TestVectors(t *testing.T) {
	for in, want := range map[string]string{
		"abc":                      "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0",
		strings.Repeat("abcd", 16): "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732",
	} {
		h := New()
		h.Write([]byte(in))
		if got := hex.EncodeToString(h.Sum(nil)); got != want {
			t.Errorf("sm3(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestPieces(t *testing.T) {
	data := []byte(strings.Repeat("0123456789", 20))
	for n := range 150 {
		whole, pieces := New(), New()
		whole.Write(data[:n])
		for i := range n {
			pieces.Write(data[i : i+1])
		}
		if string(whole.Sum(nil)) != string(pieces.Sum(nil)) {
			t.Errorf("%d bytes: the digest depends on how they are written", n)
		}
	}
}
