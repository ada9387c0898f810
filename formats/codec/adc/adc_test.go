package adc

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"platter/formats/codec"
)

func TestDecode(t *testing.T) {
	long := bytes.Repeat([]byte("ab"), 33)
	for _, c := range []struct {
		name string
		src  []byte
		want []byte
		err  error
	}{
		{"nothing", nil, nil, nil},
		{"literals", []byte{0x82, 'a', 'b', 'c'}, []byte("abc"), nil},
		{"two bytes", []byte{0x82, 'a', 'b', 'c', 0x08, 0x02}, []byte("abcabcab"), nil},
		{"run", []byte{0x80, 'x', 0x3c, 0x00}, bytes.Repeat([]byte("x"), 19), nil},
		{"three bytes", []byte{0x81, 'a', 'b', 0x7c, 0x00, 0x01}, long, nil},
		{"too far", []byte{0x81, 'a', 'b', 0x00, 0x02}, []byte("ab"), codec.ErrCorrupt},
		{"too far, long form", []byte{0x81, 'a', 'b', 0x40, 0x01, 0x00}, []byte("ab"), codec.ErrCorrupt},
		{"cut literals", []byte{0x82, 'a', 'b'}, []byte("ab"), codec.ErrTruncated},
		{"cut match", []byte{0x80, 'a', 0x40, 0x00}, []byte("a"), codec.ErrTruncated},
	} {
		dst := make([]byte, 100)
		n, err := Decode(dst, c.src)
		if err != c.err || !bytes.Equal(dst[:n], c.want) {
			t.Errorf("%s: %q, %v", c.name, dst[:n], err)
		}
		for limit := range len(c.want) {
			if n, err := Decode(dst[:limit], c.src); err != codec.ErrTooLarge && err != c.err || n > limit {
				t.Errorf("%s into %d bytes: %d, %v", c.name, limit, n, err)
			}
		}
	}
}

// The farthest distance of each form.
func TestDistances(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var src, want []byte
	for len(want) < 65536 {
		src = append(src, 0xff)
		for range 128 {
			b := byte(r.Uint32())
			src, want = append(src, b), append(want, b)
		}
	}
	short := append(bytes.Clone(src), 0x03, 0xff)
	long := append(bytes.Clone(src), 0x40, 0xff, 0xff)
	dst := make([]byte, 70000)
	if n, err := Decode(dst, short); err != nil || !bytes.Equal(dst[:n], append(bytes.Clone(want), want[65536-1024:][:3]...)) {
		t.Errorf("1024 back: %v", err)
	}
	if n, err := Decode(dst, long); err != nil || !bytes.Equal(dst[:n], append(bytes.Clone(want), want[:4]...)) {
		t.Errorf("65536 back: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{0x82, 'a', 'b', 'c', 0x08, 0x02, 0x44, 0, 1})
	dst := make([]byte, 2000)
	f.Fuzz(func(t *testing.T, src []byte) {
		if n, err := Decode(dst, src); n > len(dst) || err == codec.ErrTooLarge && n != len(dst) {
			t.Error(n, err)
		}
	})
}
