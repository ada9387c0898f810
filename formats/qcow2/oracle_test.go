package qcow2_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/formats/all"
	"platter/integration/programs"
)

// oracleTool finds a program of the stock tools, or skips.
func oracleTool(t testing.TB, name string) string {
	t.Helper()
	return programs.StockPath(t, name)
}

// stock runs a stock tool and returns what it prints; it must succeed.
func stock(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := tryStock(t, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

func tryStock(t testing.TB, name string, args ...string) (string, error) {
	t.Helper()
	out, err := exec.Command(oracleTool(t, name), args...).CombinedOutput()
	return string(out), err
}

// env is a test's environment; lines get what is reported and warned of.
func env(lines *[]string) *chain.Env {
	note := func(f string, a ...any) {
		if lines != nil {
			*lines = append(*lines, f)
		}
	}
	return &chain.Env{Registry: all.Registry(), Env: &formats.Env{
		Secret: secretOf,
		Object: func(string) (any, bool) { return nil, false },
		Warn:   note, Report: note,
	}}
}

func openFile(t testing.TB, name string, flags formats.OpenFlags) *chain.Node {
	t.Helper()
	n, err := chain.Open(context.Background(), env(nil), chain.Request{Filename: name, Format: "qcow2", Flags: flags})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// content reads a whole image in requests of odd sizes.
func content(t testing.TB, n formats.File) []byte {
	t.Helper()
	all := make([]byte, n.Size())
	for off, step := int64(0), int64(1<<20+513); off < n.Size(); off += step {
		if err := n.ReadAt(context.Background(), all[off:min(off+step, n.Size())], off); err != nil {
			t.Fatalf("read at %d: %v", off, err)
		}
	}
	return all
}

// stockContent is what stock qemu-img reads.
func stockContent(t testing.TB, name string) []byte {
	t.Helper()
	raw := filepath.Join(fastDir(t), "raw")
	stock(t, "qemu-img", "convert", "-f", "qcow2", "-O", "raw", name, raw)
	data, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func mustEqual(t testing.TB, got, want []byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d bytes, want %d", len(got), len(want))
	}
	if bytes.Equal(got, want) {
		return
	}
	for k := range got {
		if got[k] != want[k] {
			t.Fatalf("content differs from %#x on: %#x, want %#x", k, got[k], want[k])
		}
	}
}

// mustClean has stock check an image.
func mustClean(t testing.TB, name string) {
	t.Helper()
	out, err := tryStock(t, "qemu-img", "check", "-f", "qcow2", name)
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 63) {
		t.Fatalf("check %s: %v\n%s", name, err, out)
	}
}

// creations are -o lists that between them use every layout that reads and writes must cope with.
var creations = []string{
	"", "compat=0.10", "cluster_size=512", "cluster_size=4k,refcount_bits=1", "cluster_size=2M",
	"refcount_bits=1", "refcount_bits=2", "refcount_bits=4", "refcount_bits=8", "refcount_bits=32", "refcount_bits=64",
	"extended_l2=on", "extended_l2=on,cluster_size=16k", "lazy_refcounts=on", "preallocation=metadata",
	"cluster_size=512,refcount_bits=64", "compression_type=zstd", "preallocation=falloc,cluster_size=4k",
}

func TestReadsWhatStockWrites(t *testing.T) {
	t.Parallel()
	for _, o := range creations {
		t.Run(o, func(t *testing.T) {
			name := filepath.Join(fastDir(t), "a.qcow2")
			args := []string{"create", "-q", "-f", "qcow2", name, "9M"}
			if o != "" {
				args = append(args, "-o", o)
			}
			stock(t, "qemu-img", args...)
			cmds := []string{"write -P 1 0 200k", "write -P 2 3M 70001", "write -P 6 8M 1M"}
			if !strings.Contains(o, "preallocation") { // stock does not overwrite with compressed data
				cmds = append(cmds, "write -c -P 3 4M 2M", "write -P 5 4200k 4k")
			}
			if !strings.Contains(o, "0.10") {
				cmds = append(cmds, "write -z 100k 300k", "write -zu 3M 10k", "discard 8M 512k")
			}
			io := []string{"-f", "qcow2", name}
			for _, c := range cmds {
				io = append(io, "-c", c)
			}
			stock(t, "qemu-io", io...)
			n := openFile(t, name, 0)
			defer n.Close()
			mustEqual(t, content(t, n), stockContent(t, name))
		})
	}
}

func TestStockReadsWhatWeWrite(t *testing.T) {
	t.Parallel()
	for _, o := range creations {
		t.Run(o, func(t *testing.T) {
			name := filepath.Join(fastDir(t), "a.qcow2")
			args := []string{"create", "-q", "-f", "qcow2", name, "9M"}
			if o != "" {
				args = append(args, "-o", o)
			}
			stock(t, "qemu-img", args...)
			want := make([]byte, 9<<20)
			n := openFile(t, name, formats.ReadWrite|formats.Unmap)
			for k, w := range []struct{ off, n int }{{0, 200 << 10}, {3 << 20, 70001}, {100000, 5}, {8 << 20, 1 << 20},
				{1<<20 - 3, 3 << 20}, {4 << 20, 4096}} {
				p := bytes.Repeat([]byte{byte(k + 1)}, w.n)
				copy(want[w.off:], p)
				if err := n.WriteAt(context.Background(), p, int64(w.off), 0); err != nil {
					t.Fatal(err)
				}
			}
			mustEqual(t, content(t, n), want)
			if err := n.Flush(context.Background()); err != nil {
				t.Fatal(err)
			}
			mustEqual(t, content(t, n), want)
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			mustClean(t, name)
			mustEqual(t, stockContent(t, name), want)
		})
	}
}
