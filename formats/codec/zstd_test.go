package codec

import (
	"bytes"
	"os/exec"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func zstdFrame(t testing.TB, b []byte, opts ...zstd.EOption) []byte {
	t.Helper()
	e, err := zstd.NewWriter(nil, append(opts, zstd.WithZeroFrames(true), zstd.WithEncoderConcurrency(1))...)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	return e.EncodeAll(b, nil)
}

// streamed makes a frame without content size.
func streamed(t testing.TB, b []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	e, err := zstd.NewWriter(&buf, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	for len(b) > 0 {
		n := min(len(b), 10000)
		e.Write(b[:n])
		e.Flush()
		b = b[n:]
	}
	e.Close()
	return buf.Bytes()
}

func TestZstdDecode(t *testing.T) {
	var z ZstdDecoder
	for name, want := range samples(t) {
		if len(want) == 0 {
			continue
		}
		half := len(want) / 2
		forms := map[string][]byte{
			"plain":    zstdFrame(t, want, zstd.WithEncoderCRC(false)),
			"checksum": zstdFrame(t, want),
			"streamed": streamed(t, want),
			"frames":   append(zstdFrame(t, want[:half]), zstdFrame(t, want[half:])...),
			"skip":     append([]byte{0x53, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9}, zstdFrame(t, want)...),
		}
		for form, src := range forms {
			for _, padding := range [][]byte{nil, make([]byte, 300), bytes.Repeat([]byte{0x28, 0xb5}, 99)} {
				got := make([]byte, len(want), len(want)+100)
				if err := z.Decode(got, append(bytes.Clone(src), padding...)); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s %s: %v", name, form, err)
				}
			}
			if err := z.Decode(make([]byte, len(want)-1), src); len(want) > 1 && err == nil && form != "frames" {
				t.Errorf("%s %s: too large a frame was taken", name, form)
			}
			if err := z.Decode(make([]byte, len(want)+1), src); err != ErrTruncated {
				t.Errorf("%s %s: too small a frame gave %v", name, form, err)
			}
		}
	}
}

func TestZstdDamaged(t *testing.T) {
	var z ZstdDecoder
	want := samples(t)["odd"]
	src := zstdFrame(t, want)
	got := make([]byte, len(want))
	for cut := range src {
		if z.Decode(got, src[:cut]) == nil {
			t.Fatalf("a frame cut at %d of %d was taken", cut, len(src))
		}
	}
	for i := range src {
		bad := bytes.Clone(src)
		bad[i] ^= 0x10
		if z.Decode(got, bad) == nil && !bytes.Equal(got, want) {
			t.Fatalf("a change at %d of a frame with checksum went unnoticed", i)
		}
	}
}

func TestZstdEncode(t *testing.T) {
	var z ZstdEncoder
	var d ZstdDecoder
	for name, want := range samples(t) {
		dst := make([]byte, len(want)+20)
		n, ok := z.Encode(dst, want)
		if !ok {
			t.Fatalf("%s: did not fit", name)
		}
		got := make([]byte, len(want))
		if err := d.Decode(got, dst[:n]); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v", name, err)
		}
		if l, err := zstdFrameLen(dst); err != nil || l != n {
			t.Errorf("%s: frame of %d bytes is found as %d, %v", name, n, l, err)
		}
		if _, ok := z.Encode(dst[:n-1], want); ok {
			t.Errorf("%s: fits in one byte less than its %d", name, n)
		}
	}
	if _, ok := z.Encode(make([]byte, 65535), samples(t)["random"]); ok {
		t.Error("random bytes were compressed")
	}
}

// The reference decoder takes our frames in its streaming mode.
func TestZstdReference(t *testing.T) {
	tool, err := exec.LookPath("zstd")
	if err != nil {
		t.Skip("no zstd program here")
	}
	var z ZstdEncoder
	for name, want := range samples(t) {
		dst := make([]byte, len(want)+20)
		n, _ := z.Encode(dst, want)
		cmd := exec.Command(tool, "-d", "-c")
		cmd.Stdin = bytes.NewReader(dst[:n])
		got, err := cmd.Output()
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestZstdAllocates(t *testing.T) {
	var e ZstdEncoder
	var d ZstdDecoder
	for _, name := range []string{"text", "random", "mixed"} {
		want := samples(t)[name]
		packed := make([]byte, len(want)+100)
		n, _ := e.Encode(packed, want)
		got := make([]byte, len(want))
		d.Decode(got, packed[:n])
		if a := testing.AllocsPerRun(20, func() { e.Encode(packed, want) }); a > 0 {
			t.Errorf("%s: %v allocations an Encode", name, a)
		}
		if a := testing.AllocsPerRun(20, func() { d.Decode(got, packed[:n]) }); a > 0 {
			t.Errorf("%s: %v allocations a Decode", name, a)
		}
	}
}

func FuzzZstd(f *testing.F) {
	for _, b := range samples(f) {
		f.Add(zstdFrame(f, b[:min(len(b), 3000)]))
	}
	var z ZstdDecoder
	dst := make([]byte, 10000)
	f.Fuzz(func(t *testing.T, src []byte) {
		z.Decode(dst, src)
		if n, err := zstdFrameLen(src); err == nil && n > len(src) {
			t.Errorf("frame of %d bytes in %d", n, len(src))
		}
	})
}

// The room behind the output is used as far as it is promised, and no further; without it nothing behind is touched.
func TestZstdSlack(t *testing.T) {
	var z ZstdDecoder
	for name, want := range samples(t) {
		for form, src := range map[string][]byte{"plain": zstdFrame(t, want), "streamed": streamed(t, want)} {
			for _, slack := range []int{0, 1, ZstdSlack - 1, ZstdSlack, ZstdSlack + 100} {
				room := bytes.Repeat([]byte{0xa5}, len(want)+300)
				dst := room[: len(want) : len(want)+slack]
				if err := z.Decode(dst, src); err != nil || !bytes.Equal(dst, want) {
					t.Fatalf("%s %s, slack of %d: %v", name, form, slack, err)
				}
				if slack = slack / ZstdSlack * ZstdSlack; !bytes.Equal(room[len(want)+min(slack, ZstdSlack):],
					bytes.Repeat([]byte{0xa5}, 300-min(slack, ZstdSlack))) {
					t.Fatalf("%s %s: wrote behind the buffer", name, form)
				}
			}
		}
	}
}
