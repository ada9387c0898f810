package codec

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"io"
	"math/rand/v2"
	"testing"
)

// samples returns buffers of very different kinds, the same in every run.
func samples(t testing.TB) map[string][]byte {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, 70000)
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	text := make([]byte, 0, 70000)
	words := []string{"cluster ", "table ", "the ", "of ", "a ", "refcount", "\n", "snapshot ", "0x", "guest offset "}
	for len(text) < 65536 {
		text = append(text, words[r.IntN(len(words))]...)
		if r.IntN(9) == 0 {
			text = append(text, byte(r.Uint32()))
		}
	}
	skewed := make([]byte, 65536)
	for i := range skewed {
		skewed[i] = byte(min(r.ExpFloat64()*3, 255))
	}
	mixed := append(append(bytes.Clone(random[:20000]), make([]byte, 20000)...), text[:25536]...)
	return map[string][]byte{
		"empty": {}, "one": {7}, "three": {1, 2, 3}, "zero": make([]byte, 65536), "random": random[:65536],
		"text": text[:65536], "skewed": skewed, "mixed": mixed, "short": text[:100], "odd": text[5:4099],
		"runs": bytes.Repeat([]byte{1, 1, 1, 1, 1, 2}, 3000), "far": append(bytes.Clone(random[:40000]), random[:30000]...),
	}
}

func deflated(t testing.TB, b []byte, level int) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := flate.NewWriter(&buf, level)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(b)
	w.Close()
	return buf.Bytes()
}

func TestInflateRaw(t *testing.T) {
	var z Inflater
	for name, want := range samples(t) {
		for level := flate.HuffmanOnly; level <= 9; level++ {
			src := deflated(t, want, level)
			for _, spare := range []int{0, 1, 5, 300} {
				got := make([]byte, len(want)+spare)
				padded := append(bytes.Clone(src), make([]byte, spare)...)
				n, used, err := z.Raw(got, padded)
				if err != nil || n != len(want) || used != len(src) {
					t.Fatalf("%s level %d spare %d: produced %d, consumed %d of %d, %v", name, level, spare, n, used, len(src), err)
				}
				if !bytes.Equal(got[:n], want) {
					t.Fatalf("%s level %d spare %d: wrong bytes", name, level, spare)
				}
			}
		}
	}
}

// A buffer that is too small is filled, and nothing behind it is touched.
func TestInflateTooLarge(t *testing.T) {
	var z Inflater
	for name, want := range samples(t) {
		for _, level := range []int{0, 1, 6} {
			src := deflated(t, want, level)
			for _, limit := range []int{0, 1, len(want) / 2, len(want) - 1} {
				if limit < 0 || limit >= len(want) {
					continue
				}
				room := bytes.Repeat([]byte{0xa5}, limit+512)
				n, _, err := z.Raw(room[:limit], src)
				if err != ErrTooLarge || n != limit || !bytes.Equal(room[:limit], want[:limit]) {
					t.Errorf("%s level %d limit %d: produced %d, %v", name, level, limit, n, err)
				}
				if bytes.ContainsFunc(room[limit:], func(r rune) bool { return r != 0xfffd }) {
					t.Errorf("%s level %d limit %d: wrote behind the buffer", name, level, limit)
				}
				if limit > 0 {
					if err := z.Fill(room[:limit], src); err != nil {
						t.Errorf("%s level %d limit %d: Fill: %v", name, level, limit, err)
					}
				}
			}
		}
	}
}

// What is cut off is reported as such, and what lies before the cut has been decoded.
func TestInflateTruncated(t *testing.T) {
	var z Inflater
	want := samples(t)["odd"]
	for _, level := range []int{0, 1, 6} {
		src := deflated(t, want, level)
		got := make([]byte, len(want)+1)
		for cut := range src {
			n, _, err := z.Raw(got, src[:cut])
			if err != ErrTruncated || !bytes.Equal(got[:n], want[:n]) {
				t.Fatalf("level %d, cut at %d: produced %d, %v", level, cut, n, err)
			}
			ref, _ := io.ReadAll(flate.NewReader(bytes.NewReader(src[:cut])))
			if n < len(ref) {
				t.Fatalf("level %d, cut at %d: %d bytes, compress/flate gave %d", level, cut, n, len(ref))
			}
			if err := z.Fill(got[:len(want)], src[:cut]); (err == nil) != (n == len(want)) {
				t.Fatalf("level %d, cut at %d: Fill: %v with %d bytes", level, cut, err, n)
			}
		}
	}
}

func TestInflateZlib(t *testing.T) {
	var z Inflater
	for name, want := range samples(t) {
		var buf bytes.Buffer
		w := zlib.NewWriter(&buf)
		w.Write(want)
		w.Close()
		src := buf.Bytes()
		got := make([]byte, len(want))
		n, used, err := z.Zlib(got, src)
		if err != nil || n != len(want) || used != len(src) || !bytes.Equal(got, want) {
			t.Errorf("%s: produced %d, consumed %d of %d, %v", name, n, used, len(src), err)
		}
		src[len(src)-1] ^= 1
		if _, _, err := z.Zlib(got, src); err != ErrChecksum {
			t.Errorf("%s: wrong checksum gave %v", name, err)
		}
		if _, _, err := z.Zlib(got, src[:len(src)-1]); err != ErrTruncated {
			t.Errorf("%s: short checksum gave %v", name, err)
		}
	}
	for _, head := range [][]byte{{0x78, 0x9d}, {0x79, 0x9c}, {0x88, 0x1c}, {0x78, 0xbb}} {
		if _, _, err := z.Zlib(nil, append(head, 3, 0, 0, 0, 0, 1)); err != ErrCorrupt {
			t.Errorf("header %x gave %v", head, err)
		}
	}
}

// agree compares one inflation with compress/flate's.
func agree(t *testing.T, z *Inflater, dst, src []byte) {
	t.Helper()
	in := bytes.NewReader(src)
	ref, refErr := io.ReadAll(io.LimitReader(flate.NewReader(in), int64(len(dst))+1))
	n, used, err := z.Raw(dst, src)
	common := min(n, len(ref)) // before an error, either may have come farther
	if !bytes.Equal(dst[:common], ref[:common]) {
		t.Fatalf("bytes differ from compress/flate, %d bytes in", len(src))
	}
	if len(ref) > len(dst) {
		if err == nil {
			t.Fatalf("more than %d bytes taken", len(dst))
		}
		return
	}
	if (err == nil) != (refErr == nil) {
		t.Fatalf("%v, compress/flate %v (%d bytes in)", err, refErr, len(src))
	}
	if err == nil && (n != len(ref) || used != len(src)-in.Len()) {
		t.Fatalf("produced %d consumed %d, compress/flate %d and %d", n, used, len(ref), len(src)-in.Len())
	}
}

func TestInflateDamaged(t *testing.T) {
	var z Inflater
	r := rand.New(rand.NewPCG(3, 4))
	dst := make([]byte, 8192)
	all := samples(t)
	for _, name := range []string{"odd", "short", "runs", "one", "three"} {
		for _, level := range []int{-2, 0, 1, 6} {
			whole := deflated(t, all[name], level)
			for range 400 {
				src := bytes.Clone(whole)
				for range 1 + r.IntN(3) {
					src[r.IntN(min(len(src), 200))] ^= 1 << r.IntN(8)
				}
				agree(t, &z, dst, src)
			}
		}
	}
	for range 20000 {
		src := make([]byte, r.IntN(60))
		for i := range src {
			src[i] = byte(r.Uint32())
		}
		agree(t, &z, dst, src)
	}
}

func FuzzInflate(f *testing.F) {
	for _, b := range samples(f) {
		f.Add(deflated(f, b[:min(len(b), 3000)], 6))
	}
	var z Inflater
	dst := make([]byte, 10000)
	f.Fuzz(func(t *testing.T, src []byte) {
		agree(t, &z, dst, src)
		z.Zlib(dst, src)
	})
}

func TestInflateAllocates(t *testing.T) {
	var z Inflater
	want := samples(t)["text"]
	src := deflated(t, want, 6)
	dst := make([]byte, len(want))
	if n := testing.AllocsPerRun(10, func() { z.Raw(dst, src) }); n != 0 {
		t.Errorf("%v allocations a call", n)
	}
}
