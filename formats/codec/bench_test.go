package codec

import (
	"bytes"
	"compress/flate"
	"io"
	"os"
	"testing"

	kflate "github.com/klauspost/compress/flate"
)

// clusters returns up to 16 MiB of the file named by PLATTER_BENCH_DATA in clusters of 64 KiB. Without one it takes the
// test's own program, which is machine code and tables.
func clusters(b *testing.B) [][]byte {
	b.Helper()
	name := os.Getenv("PLATTER_BENCH_DATA")
	if name == "" {
		var err error
		if name, err = os.Executable(); err != nil {
			b.Fatal(err)
		}
	}
	data, err := os.ReadFile(name)
	if err != nil {
		b.Fatal(err)
	}
	var all [][]byte
	for len(data) >= 65536 && len(all) < 256 {
		all = append(all, data[:65536])
		data = data[65536:]
	}
	return all
}

func BenchmarkInflate(b *testing.B) {
	var packed [][]byte
	for _, c := range clusters(b) {
		packed = append(packed, deflated(b, c, 6))
	}
	dst := make([]byte, 65536)
	run := func(name string, f func(src []byte) error) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(packed)) << 16)
			b.ReportAllocs()
			for b.Loop() {
				for _, src := range packed {
					if err := f(src); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
	var z Inflater
	run("one-shot", func(src []byte) error {
		_, _, err := z.Raw(dst, src)
		return err
	})
	r := bytes.NewReader(nil)
	std := flate.NewReader(r)
	run("compress-flate", func(src []byte) error {
		r.Reset(src)
		std.(flate.Resetter).Reset(r, nil)
		_, err := io.ReadFull(std, dst)
		return err
	})
	klauspost := kflate.NewReader(r)
	run("klauspost-flate", func(src []byte) error {
		r.Reset(src)
		klauspost.(kflate.Resetter).Reset(r, nil)
		_, err := io.ReadFull(klauspost, dst)
		return err
	})
}

func BenchmarkDeflate(b *testing.B) {
	all := clusters(b)
	dst := make([]byte, 65535)
	run := func(name string, f func(src []byte) int) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(all)) << 16)
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				size = 0
				for _, src := range all {
					size += f(src)
				}
			}
			b.ReportMetric(float64(size)/float64(len(all)<<16), "ratio")
		})
	}
	own := func(d *Deflater) func(src []byte) int {
		return func(src []byte) int {
			if n, ok := d.Raw(dst, src); ok {
				return n
			}
			return len(src)
		}
	}
	run("4K", own(NewDeflater(Window4K)))
	run("32K", own(NewDeflater(Window32K)))
	var buf bytes.Buffer
	library := func(w *kflate.Writer, err error) func(src []byte) int {
		return func(src []byte) int {
			buf.Reset()
			w.Reset(&buf)
			w.Write(src)
			w.Close()
			return min(buf.Len(), len(src))
		}
	}
	run("klauspost-4K", library(kflate.NewWriterWindow(&buf, Window4K)))
	run("klauspost-32K-5", library(kflate.NewWriter(&buf, 5)))
	var z ZstdEncoder
	run("zstd", func(src []byte) int {
		if n, ok := z.Encode(dst, src); ok {
			return n
		}
		return len(src)
	})
}

// Deflate of what is given up, zstd's of the same, and the search for data that is not zero.
func BenchmarkGiveUp(b *testing.B) {
	random := samples(b)["random"]
	dst := make([]byte, 65535)
	d := NewDeflater(Window4K)
	var z ZstdEncoder
	zero := make([]byte, 65536)
	for name, f := range map[string]func() bool{
		"deflate": func() bool { _, ok := d.Raw(dst, random); return !ok },
		"zstd":    func() bool { _, ok := z.Encode(dst, random); return !ok },
		"zero":    func() bool { return IsZero(zero) },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(65536)
			for b.Loop() {
				if !f() {
					b.Fatal("wrong")
				}
			}
		})
	}
}

func BenchmarkZstdDecode(b *testing.B) {
	var e ZstdEncoder
	var d ZstdDecoder
	var packed [][]byte
	buf, dst := make([]byte, 70000), make([]byte, 65536)
	for _, c := range clusters(b) {
		if n, ok := e.Encode(buf[:65535], c); ok {
			packed = append(packed, bytes.Clone(buf[:n]))
		}
	}
	b.SetBytes(int64(len(packed)) << 16)
	b.ReportAllocs()
	for b.Loop() {
		for _, src := range packed {
			if err := d.Decode(dst, src); err != nil {
				b.Fatal(err)
			}
		}
	}
}
