package copier_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"platter/tools/copier"
)

// sectors makes a buffer: '.' is a sector of zeroes, anything else one with a byte set.
func sectors(pattern string) []byte {
	b := make([]byte, len(pattern)*512)
	for i, c := range pattern {
		if c != '.' {
			b[i*512+i%512] = byte(c)
		}
	}
	return b
}

// spans shows how FirstSpan cuts: the lengths in sectors, zeroes in brackets.
func spans(b []byte, off, least, align int64) string {
	var out []string
	for len(b) > 0 {
		s := copier.FirstSpan(b, off, least, align)
		text := fmt.Sprint(s.Len / 512)
		if !s.Data {
			text = "[" + text + "]"
		}
		out = append(out, text)
		b, off = b[s.Len:], off+s.Len
	}
	return strings.Join(out, " ")
}

func TestFirstSpan(t *testing.T) {
	for _, c := range []struct {
		pattern           string
		off, least, align int64 // sectors
		want              string
	}{
		{"........", 0, 8, 8, "[8]"},
		{"xxxxxxxx", 0, 8, 8, "8"},
		{"x", 3, 8, 8, "1"},
		{".", 3, 8, 8, "[1]"},
		{"x.......x.......", 0, 8, 8, "16"},
		{"x.......................", 0, 8, 8, "8 [16]"},
		{"x.......................x", 0, 8, 8, "8 [16] 1"},
		{"..........x", 0, 8, 8, "[8] 3"},
		{"....x...", 0, 8, 8, "8"},
		{"x..x", 0, 1, 1, "1 [2] 1"},
		{"x..x", 0, 4, 1, "4"},
		{"xxxxx....................", 5, 8, 8, "11 [14]"},
		{"...........xxxxx", 5, 8, 8, "[11] 5"},
		{"..xxxxxxxx......", 6, 8, 8, "[2] 8 [6]"},
	} {
		if got := spans(sectors(c.pattern), c.off*512, c.least*512, c.align*512); got != c.want {
			t.Errorf("%s at %d, least %d, align %d: %s, want %s", c.pattern, c.off, c.least, c.align, got, c.want)
		}
	}
}

// Nothing that is not zero may end up in a span of zeroes, and spans cover the buffer.
func TestSpansKeepData(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		b := make([]byte, (1+r.IntN(64))*512)
		for range r.IntN(6) {
			b[r.IntN(len(b))] = 1
		}
		off := int64(r.IntN(32)) * 512
		least, align := int64(1+r.IntN(16))*512, int64(512)<<r.IntN(5)
		for rest, at := b, off; len(rest) > 0; {
			s := copier.FirstSpan(rest, at, least, align)
			if s.Len <= 0 || s.Len > int64(len(rest)) || s.Len%512 != 0 {
				t.Fatalf("length %d of %d", s.Len, len(rest))
			}
			if !s.Data {
				for i, v := range rest[:s.Len] {
					if v != 0 {
						t.Fatalf("byte %d is lost", i)
					}
				}
			}
			if end := at + s.Len; s.Len < int64(len(rest)) && end%align != 0 {
				t.Fatalf("a span ends at %d, which is no multiple of %d", end, align)
			}
			rest, at = rest[s.Len:], at+s.Len
		}
	}
}
