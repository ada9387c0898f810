package serpent

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

// The tables of the specification, section 3.1 and appendix A.5.
var tables = [8][16]uint32{
	{3, 8, 15, 1, 10, 6, 5, 11, 14, 13, 4, 2, 7, 0, 9, 12},
	{15, 12, 2, 7, 9, 0, 5, 10, 1, 11, 14, 8, 6, 13, 3, 4},
	{8, 6, 7, 9, 3, 12, 10, 15, 13, 1, 14, 4, 0, 11, 5, 2},
	{0, 15, 11, 8, 12, 9, 6, 3, 13, 1, 2, 4, 10, 7, 5, 14},
	{1, 15, 8, 3, 12, 0, 11, 6, 2, 5, 4, 10, 9, 14, 7, 13},
	{15, 5, 2, 11, 4, 10, 9, 12, 0, 3, 14, 8, 13, 6, 7, 1},
	{7, 2, 12, 5, 8, 4, 6, 11, 14, 9, 1, 15, 13, 3, 10, 0},
	{1, 13, 15, 0, 14, 8, 2, 11, 7, 4, 12, 10, 9, 3, 5, 6},
}

func apply(f sbox, x uint32) uint32 {
	a, b, c, d := f(-(x & 1), -(x >> 1 & 1), -(x >> 2 & 1), -(x >> 3 & 1))
	return a&1 | b&2 | c&4 | d&8
}

func TestSBoxes(t *testing.T) {
	inverses := [8]sbox{inverse0, inverse1, inverse2, inverse3, inverse4, inverse5, inverse6, inverse7}
	for i, table := range tables {
		for x, want := range table {
			if got := apply(sboxes[i], uint32(x)); got != want {
				t.Errorf("sbox%d(%d) = %d, want %d", i, x, got, want)
			}
			if got := apply(inverses[i], want); got != uint32(x) {
				t.Errorf("inverse%d(%d) = %d, want %d", i, want, got, x)
			}
		}
	}
}

// From the test vectors submitted to the AES contest (in the order of bytes that Linux and libgcrypt use).
func TestVectors(t *testing.T) {
	for _, v := range []struct{ key, plain, cipher string }{
		{strings.Repeat("00", 16), strings.Repeat("00", 16), "3620B17AE6A993D09618B8768266BAE9"},
		{strings.Repeat("00", 32), "D095576FCEA3E3A7ED98D9F29073D78E", "B90EE5862DE69168F2BDD5125B45472B"},
	} {
		key, _ := hex.DecodeString(v.key)
		plain, _ := hex.DecodeString(v.plain)
		want, _ := hex.DecodeString(v.cipher)
		c, err := New(key)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 16)
		c.Encrypt(got, plain)
		if !bytes.Equal(got, want) {
			t.Errorf("key %s: %X, want %X", v.key, got, want)
		}
		c.Decrypt(got, got)
		if !bytes.Equal(got, plain) {
			t.Errorf("key %s: decrypted %X, want %X", v.key, got, plain)
		}
	}
	if _, err := New(make([]byte, 15)); err == nil {
		t.Error("a key of 15 bytes was taken")
	}
}
