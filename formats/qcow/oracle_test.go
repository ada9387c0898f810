package qcow_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/formats/all"
	"platter/formats/qobj"
	"platter/integration/programs"
)

// stock runs a stock tool and returns what it prints, or skips; the error is that of the run.
func stock(t testing.TB, name string, args ...string) (string, error) {
	t.Helper()
	path := programs.StockPath(t, name)
	out, err := exec.Command(path, args...).CombinedOutput()
	return string(out), err
}

func mustStock(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := stock(t, name, args...); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

func env() *chain.Env {
	return &chain.Env{Registry: all.Registry(), Env: &formats.Env{
		Secret: func(string) ([]byte, error) { return []byte("secret"), nil },
		Object: func(string) (any, bool) { return nil, false },
		Warn:   func(string, ...any) {}, Report: func(string, ...any) {},
	}}
}

func tryOpen(name string, encrypted bool, flags formats.OpenFlags) (*chain.Node, error) {
	opts := qobj.NewDict()
	if encrypted {
		opts.Set("encrypt.key-secret", "s")
	}
	return chain.Open(context.Background(), env(), chain.Request{Filename: name, Format: "qcow", Options: opts, Flags: flags})
}

func mustOpen(t testing.TB, name string, encrypted bool, flags formats.OpenFlags) *chain.Node {
	t.Helper()
	n, err := tryOpen(name, encrypted, flags)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// imageArgs are arguments that name an image to a stock tool.
func imageArgs(name string, encrypted bool) []string {
	opts := "driver=qcow,file.filename=" + name
	if encrypted {
		opts += ",encrypt.key-secret=s"
	}
	return []string{"--object", "secret,id=s,data=secret", "--image-opts", opts}
}

func stockContent(t testing.TB, name string, encrypted bool) []byte {
	t.Helper()
	raw := filepath.Join(t.TempDir(), "raw")
	mustStock(t, "qemu-img", append(append([]string{"convert", "-O", "raw"}, imageArgs(name, encrypted)...), raw)...)
	data, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func content(t testing.TB, n *chain.Node) []byte {
	t.Helper()
	p := make([]byte, n.Size())
	for off, step := int64(0), int64(300<<10+513); off < n.Size(); off += step {
		if err := n.ReadAt(context.Background(), p[off:min(off+step, n.Size())], off); err != nil {
			t.Fatalf("read at %d: %v", off, err)
		}
	}
	return p
}

var kinds = []struct {
	name, options string
	backing       bool
}{{"plain", "", false}, {"aes", "encrypt.format=aes,encrypt.key-secret=s", false}, {"overlay", "", true},
	{"aes-overlay", "encrypt.format=aes,encrypt.key-secret=s", true}}

const diskSize = 5<<20 + 1536

// stockImage has stock make an image.
func stockImage(t *testing.T, options string, backing bool) (name string) {
	t.Helper()
	dir := t.TempDir()
	name = filepath.Join(dir, "a.qcow")
	args := []string{"create", "-q", "--object", "secret,id=s,data=secret", "-f", "qcow"}
	if options != "" {
		args = append(args, "-o", options)
	}
	if backing {
		base := filepath.Join(dir, "base.raw")
		if err := os.WriteFile(base, bytes.Repeat([]byte("base"), 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-b", base, "-F", "raw")
	}
	mustStock(t, "qemu-img", append(args, name, "5244416")...)
	return name
}

func TestReadsWhatStockWrites(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			name, enc := stockImage(t, k.options, k.backing), k.options != ""
			args := imageArgs(name, enc)
			for _, c := range []string{"write -P 1 0 200k", "write -P 2 3M 70144", "write -c -P 3 4M 4k", "write -c -P 4 4100k 4k",
				"write -P 6 1000k 1k", "write -P 7 5M 1536"} {
				if k.backing && strings.HasSuffix(c, "4k") {
					c = strings.Replace(c, " 4k", " 512", 1)
				}
				args = append(args, "-c", c)
			}
			mustStock(t, "qemu-io", args...)
			n := mustOpen(t, name, enc, 0)
			defer n.Close()
			if got := content(t, n); len(got) != diskSize || !bytes.Equal(got, stockContent(t, name, enc)) {
				t.Error("content differs from what stock reads")
			}
		})
	}
}

// The same writes must give the same file, and what stock cannot be asked to do (parts of clusters over compressed data
// or over a backing file) the right content.
func TestStockReadsWhatWeWrite(t *testing.T) {
	ctx := context.Background()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			name, enc := stockImage(t, k.options, k.backing), k.options != ""
			other := filepath.Join(t.TempDir(), "b.qcow")
			blank, err := os.ReadFile(name)
			if err == nil {
				err = os.WriteFile(other, blank, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			n, args := mustOpen(t, name, enc, formats.ReadWrite), imageArgs(other, enc)
			want := content(t, n)
			for _, w := range []struct {
				off, n int
				cmd    string
			}{{0, 200 << 10, "write -P 1 0 200k"}, {3 << 20, 70144, "write -P 2 3M 70144"}, {1000 << 10, 1024, "write -P 3 1000k 1k"},
				{2<<20 - 1024, 8192, "write -P 4 2047k 8k"}, {5 << 20, 1536, "write -P 5 5M 1536"}} {
				args = append(args, "-c", w.cmd)
				p := bytes.Repeat([]byte{byte(len(args)/2 - 2)}, w.n)
				copy(want[w.off:], p)
				if err := n.WriteAt(ctx, p, int64(w.off), 0); err != nil {
					t.Fatal(err)
				}
			}
			if err := n.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			mustStock(t, "qemu-io", args...)
			ours, _ := os.ReadFile(name)
			theirs, _ := os.ReadFile(other)
			if !bytes.Equal(ours, theirs) {
				t.Errorf("the files differ (%d bytes, stock %d)", len(ours), len(theirs))
			}
			for c := int64(4 << 20); c < 4<<20+64<<10; c += 4096 {
				p := bytes.Repeat([]byte{byte(c >> 12)}, 4096)
				copy(want[c:], p)
				if err := n.WriteCompressed(ctx, p, c); err != nil {
					t.Fatal(err)
				}
			}
			if err := n.WriteAt(ctx, bytes.Repeat([]byte{99}, 700), 4<<20+5000, 0); err != nil {
				t.Fatal(err)
			}
			copy(want[4<<20+5000:], bytes.Repeat([]byte{99}, 700))
			noise := make([]byte, 4096)
			rand.NewChaCha8([32]byte{}).Read(noise)
			copy(want[3<<20+1<<19:], noise)
			if err := n.WriteCompressed(ctx, noise, 3<<20+1<<19); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(content(t, n), want) {
				t.Error("content is not what was written")
			}
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(stockContent(t, name, enc), want) {
				t.Error("stock reads other content")
			}
		})
	}
}

func TestMakeEmptyShowsTheBackingFile(t *testing.T) {
	ctx := context.Background()
	name := stockImage(t, "", true)
	before, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	n := mustOpen(t, name, false, formats.ReadWrite|formats.Resize)
	want := content(t, n)
	if err := n.WriteAt(ctx, bytes.Repeat([]byte{9}, 1<<20), 5000, 0); err != nil {
		t.Fatal(err)
	}
	e, _ := formats.As[formats.Emptier](n)
	if err := n.Exclusive(func() error { return e.MakeEmpty(ctx) }); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(content(t, n), want) {
		t.Error("the backing file does not show through")
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	// The table of the 3 L1 entries ends the file; a new one is rounded up to a sector.
	if after, _ := os.ReadFile(name); len(after) >= len(before) || !bytes.Equal(after, before[:len(after)]) {
		t.Errorf("%d bytes are left, of %d when it was new", len(after), len(before))
	}
}

func TestDamagedHeadersAreRefusedInStocksWords(t *testing.T) {
	name := stockImage(t, "", false)
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at  int
		hex string
	}{{0, "41"}, {7, "02"}, {7, "03"}, {7, "04"}, {24, "0000000000000001"}, {24, "ffffffffffffffff"}, {24, "0fffffffffffffff"},
		{24, "0000ffffffffffff"}, {32, "08"}, {32, "11"}, {33, "05"}, {33, "0e"}, {36, "00000001"}, {36, "00000002"},
		{40, "ffffffffffffffff"}, {40, "00ffffffffffffff"}, {8, "000000000000003000000400"}, {8, "000000000000003000000000"},
		{8, "ffffffffffffffff00000010"}} {
		bad, poke := bytes.Clone(good), must(hex.DecodeString(c.hex))
		copy(bad[c.at:], poke)
		if err := os.WriteFile(name, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		verb := "info"
		if c.at == 36 { // info wants no key
			verb = "map"
		}
		out, stockErr := stock(t, "qemu-img", verb, "-f", "qcow", name)
		n, err := tryOpen(name, false, 0)
		if (err == nil) != (stockErr == nil) {
			t.Errorf("%s at %d: %v; stock: %s", c.hex, c.at, err, out)
			continue
		}
		if err != nil {
			if first, _, _ := strings.Cut(out, "\n"); !strings.HasSuffix(first, err.Error()) && !strings.Contains(first, "Input/output error") {
				t.Errorf("%s at %d: %q; stock: %s", c.hex, c.at, err, first)
			}
			continue
		}
		n.Close()
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Entries that lead nowhere must give errors or zeroes, and neither crash nor hang.
func TestHostileTables(t *testing.T) {
	ctx := context.Background()
	name := stockImage(t, "", false)
	mustStock(t, "qemu-io", "-f", "qcow", "-c", "write -P 1 0 64k", name)
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		bad := bytes.Clone(good)
		at := 48 + 8*r.IntN(3)
		if r.IntN(3) > 0 {
			at = 4096 + 8*r.IntN(16)
		}
		bad[at+r.IntN(8)] = byte(r.Uint32())
		if err := os.WriteFile(name, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		n := mustOpen(t, name, false, formats.ReadWrite)
		p := make([]byte, 4096)
		for off := int64(0); off < 128<<10; off += 4096 {
			if err := n.ReadAt(ctx, p, off); err != nil && !strings.Contains(err.Error(), "nput/output error") {
				t.Errorf("byte at %d: read at %d: %v", at, off, err)
			}
		}
		n.Close()
	}
}
