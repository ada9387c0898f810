package codec

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"fmt"
	"hash/crc32"
	"io"
	"os/exec"
	"testing"
)

var windows = []int{256, Window4K, Window32K}

// bound is a size that every stream of n bytes fits in.
func bound(n int) int { return n + n/1000 + 64 }

func TestDeflateRoundTrip(t *testing.T) {
	for _, window := range windows {
		d := NewDeflater(window)
		var z Inflater
		for name, want := range samples(t) {
			dst := make([]byte, bound(len(want)))
			n, ok := d.Raw(dst, want)
			if !ok {
				t.Fatalf("%s window %d: does not fit in %d bytes", name, window, len(dst))
			}
			got, err := io.ReadAll(flate.NewReader(bytes.NewReader(dst[:n])))
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%s window %d: compress/flate: %v", name, window, err)
			}
			own := make([]byte, len(want))
			if m, used, err := z.Raw(own, dst[:n]); err != nil || m != len(want) || used != n || !bytes.Equal(own, want) {
				t.Fatalf("%s window %d: produced %d, consumed %d of %d, %v", name, window, m, used, n, err)
			}
			again := make([]byte, len(dst))
			if m, _ := d.Raw(again, want); !bytes.Equal(again[:m], dst[:n]) {
				t.Errorf("%s window %d: the second output differs", name, window)
			}
			// A buffer that is exactly large enough will do, unless the input is given up at first sight.
			exact := bytes.Repeat([]byte{0xa5}, n+16)
			if m, ok := d.Raw(exact[:n], want); ok != (n > len(want) || !looksRandom(want, window)) || ok && m != n {
				t.Errorf("%s window %d: %d bytes in a buffer of %d: %v", name, window, m, n, ok)
			}
			for limit := n - 1; limit >= 0 && limit > n-10; limit-- {
				if m, ok := d.Raw(exact[:limit], want); ok {
					t.Errorf("%s window %d: fits in %d bytes with %d, took %d before", name, window, limit, m, n)
				}
			}
			if !bytes.Equal(exact[n:], bytes.Repeat([]byte{0xa5}, 16)) {
				t.Errorf("%s window %d: wrote behind the buffer", name, window)
			}
		}
	}
}

// Positions wrap every 64 KiB; a cluster may have 2 MiB.
func TestDeflateBig(t *testing.T) {
	all := samples(t)
	var mixed []byte
	for len(mixed) < 2<<20 {
		for _, name := range []string{"text", "mixed", "odd", "zero", "skewed", "runs"} {
			mixed = append(mixed, all[name]...)
		}
	}
	for _, window := range windows {
		d := NewDeflater(window)
		var z Inflater
		for i, want := range [][]byte{mixed[:2<<20], bytes.Repeat(all["random"], 8), bytes.Repeat(all["text"], 8)} {
			dst := make([]byte, bound(len(want)))
			n, ok := d.Raw(dst, want)
			got := make([]byte, len(want))
			if m, _, err := z.Raw(got, dst[:n]); !ok || err != nil || m != len(want) || !bytes.Equal(got, want) {
				t.Errorf("buffer %d window %d: %v, %v", i, window, ok, err)
			}
			if std, err := io.ReadAll(flate.NewReader(bytes.NewReader(dst[:n]))); err != nil || !bytes.Equal(std, want) {
				t.Errorf("buffer %d window %d: compress/flate: %v", i, window, err)
			}
		}
	}
}

func TestDeflateZlib(t *testing.T) {
	for _, window := range windows {
		d := NewDeflater(window)
		for name, want := range samples(t) {
			dst := make([]byte, bound(len(want)))
			n, ok := d.Zlib(dst, want)
			if !ok {
				t.Fatalf("%s window %d: does not fit", name, window)
			}
			if 256<<(dst[0]>>4) != window {
				t.Errorf("window %d: header %#x", window, dst[0])
			}
			r, err := zlib.NewReader(bytes.NewReader(dst[:n]))
			if err != nil {
				t.Fatalf("%s window %d: %v", name, window, err)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s window %d: %v", name, window, err)
			}
			if _, ok := d.Zlib(dst[:n-1], want); ok {
				t.Errorf("%s window %d: fits in one byte less", name, window)
			}
		}
		for n := range 6 {
			if _, ok := d.Zlib(make([]byte, n), nil); ok {
				t.Errorf("a stream in %d bytes", n)
			}
		}
	}
}

// inflatePython reads lines "window hex" and inflates each piece by piece, so that zlib has only its window to look
// back into.
const inflatePython = `
import sys, zlib
for line in sys.stdin:
    bits, data = line.split()
    z = zlib.decompressobj(-int(bits))
    data = bytes.fromhex(data)
    out = b''
    while not z.eof:
        if not data: sys.exit('no end')
        piece = z.decompress(data, 200)
        out += piece
        data = z.unconsumed_tail
    print(zlib.crc32(out), len(out))
`

// zlib reads the streams with the window that was asked for, in small steps.
func TestDeflateWindow(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 here, whose zlib is the reference")
	}
	var in bytes.Buffer
	var want bytes.Buffer
	for bits, window := range map[int]int{9: 512, 12: Window4K, 15: Window32K} {
		d := NewDeflater(window)
		for _, b := range samples(t) {
			dst := make([]byte, bound(len(b)))
			n, _ := d.Raw(dst, b)
			fmt.Fprintf(&in, "%d %x\n", bits, dst[:n])
			fmt.Fprintln(&want, crc(b), len(b))
		}
	}
	cmd := exec.Command(python, "-c", inflatePython)
	cmd.Stdin = &in
	got, err := cmd.CombinedOutput()
	if err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestDeflateAllocates(t *testing.T) {
	d := NewDeflater(Window4K)
	for name, src := range samples(t) {
		dst := make([]byte, bound(len(src)))
		d.Raw(dst, src)
		if n := testing.AllocsPerRun(5, func() { d.Raw(dst, src) }); n != 0 {
			t.Errorf("%s: %v allocations a call", name, n)
		}
	}
}

// What is random is not tried; a cluster that is random in part is.
func TestDeflateRandom(t *testing.T) {
	d := NewDeflater(Window4K)
	all := samples(t)
	dst := make([]byte, 65535)
	if _, ok := d.Raw(dst, all["random"]); ok || !looksRandom(all["random"], Window4K) {
		t.Error("random bytes were compressed")
	}
	period := bytes.Repeat(all["random"][:2000], 32)
	tail := append(bytes.Clone(all["random"][:60000]), make([]byte, 4000)...)
	pages := bytes.Repeat(all["random"][:4096], 16)
	hidden := bytes.Clone(all["random"]) // zeroes where no sample is taken
	clear(hidden[4096+sampleLen : 8192])
	for i, b := range [][]byte{all["mixed"], all["text"], all["skewed"], all["zero"], period, tail, pages, hidden} {
		if n, ok := d.Raw(dst[:len(b)-1], b); !ok || looksRandom(b, Window4K) {
			t.Errorf("buffer %d of %d bytes is left as it is (%d)", i, len(b), n)
		}
	}
}

func FuzzDeflate(f *testing.F) {
	for _, b := range samples(f) {
		f.Add(b[:min(len(b), 5000)])
	}
	small, large := NewDeflater(Window4K), NewDeflater(Window32K)
	f.Fuzz(func(t *testing.T, src []byte) {
		dst := make([]byte, bound(len(src)))
		for _, d := range []*Deflater{small, large} {
			n, ok := d.Raw(dst, src)
			if !ok {
				t.Fatal("does not fit")
			}
			got, err := io.ReadAll(flate.NewReader(bytes.NewReader(dst[:n])))
			if err != nil || !bytes.Equal(got, src) {
				t.Fatal("round trip", err)
			}
			if m, ok := d.Raw(dst[:n], src); !ok || m != n {
				t.Fatalf("%d bytes in a buffer of %d", m, n)
			}
		}
	})
}
func crc(b []byte) uint32 { return crc32.ChecksumIEEE(b) }
