package qcow2_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/formats/formatstest"
)

// amend changes options of an open image.
func amend(t testing.TB, n *chain.Node, opts string) error {
	t.Helper()
	a, ok := formats.As[formats.Amender](n)
	if !ok {
		t.Fatal("no Amender")
	}
	v, err := n.Driver().AmendOpts.Parse(opts)
	if err != nil {
		t.Fatal(err)
	}
	return n.Exclusive(func() error {
		return a.Amend(context.Background(), v, false, nil, storeEnv(formatstest.NewStore(), nil).Env)
	})
}

// TestAmendAsStock amends two copies of an image, each in a row of steps, and compares files and messages.
func TestAmendAsStock(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		create string
		steps  []string
	}{
		{"compat=0.10", []string{"compat=1.1", "lazy_refcounts=on", "lazy_refcounts=off", "compat=0.10"}},
		{"cluster_size=64k", []string{"size=9M", "size=4M", "refcount_bits=5", "compat=3", "data_file=x", "data_file_raw=on",
			"backing_file=x", "encrypt.state=active", "lazy_refcounts=on,compat=0.10", "compat=0.10", "refcount_bits=8",
			"compat=1.1"}},
		{"cluster_size=4k", []string{"refcount_bits=1", "refcount_bits=64", "compat=0.10", "refcount_bits=2",
			"compat=0.10,refcount_bits=16", "compat=1.1,refcount_bits=8"}},
		{"extended_l2=on", []string{"compat=0.10"}},
		{"compression_type=zstd", []string{"compat=0.10"}},
	} {
		t.Run(c.create, func(t *testing.T) {
			dir := fastDir(t)
			ours, theirs := filepath.Join(dir, "ours"), filepath.Join(dir, "theirs")
			stock(t, "qemu-img", "create", "-q", "-f", "qcow2", "-o", c.create, theirs, "8M")
			stock(t, "qemu-io", "-c", "write -P 1 0 1M", "-c", "write -P 2 3M 128k", theirs)
			// Stock expands zero clusters before it finds compressed ones in its way; we leave the file alone.
			if !strings.Contains(c.create, "0.10") && !strings.Contains(c.create, "zstd") {
				stock(t, "qemu-io", "-c", "write -z 512k 64k", "-c", "write -z -u 3M 64k", theirs)
			}
			if strings.Contains(c.create, "zstd") {
				stock(t, "qemu-io", "-c", "write -c -P 7 4M 64k", theirs)
			}
			b, _ := os.ReadFile(theirs)
			os.WriteFile(ours, b, 0o600)
			for _, step := range c.steps {
				out, _ := tryStock(t, "qemu-img", "amend", "-o", step, theirs)
				n := openFile(t, ours, rw)
				got := ""
				if err := amend(t, n, step); err != nil {
					got = "qemu-img: " + err.Error() + "\n"
				}
				if err := n.Close(); err != nil {
					t.Fatal(err)
				}
				if !strings.HasPrefix(out, got) || (got == "") != (out == "") {
					t.Fatalf("%s: says %q, stock %q", step, got, out)
				}
				a, _ := os.ReadFile(ours)
				b, _ := os.ReadFile(theirs)
				if !bytes.Equal(a, b) {
					t.Fatalf("after %s the files differ (%d and %d bytes)", step, len(a), len(b))
				}
			}
		})
	}
}

// TestAmendModel amends images with snapshots; content stays, and check is clean.
func TestAmendModel(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(11, 12))
	for _, opts := range []string{"cluster_size=512", "cluster_size=4k"} {
		model := make([]byte, 300<<10)
		s := newImage(t, opts, int64(len(model)))
		n := openStore(t, s, rw)
		mutate(t, n, model, rng, 20)
		takeSnapshot(t, n, "a")
		kept := bytes.Clone(model)
		mutate(t, n, model, rng, 20)
		for _, step := range []string{"refcount_bits=64", "refcount_bits=2", "refcount_bits=16", "compat=0.10", "compat=1.1,lazy_refcounts=on",
			"refcount_bits=8", "refcount_bits=16,compat=0.10,lazy_refcounts=off", "compat=1.1"} {
			if err := amend(t, n, step); err != nil {
				t.Fatalf("%s: %v", step, err)
			}
			same(t, step, content(t, n), model)
			same(t, step, readSnapshot(t, n, "a"), kept)
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			sound(t, s, opts+" "+step)
			n = openStore(t, s, rw)
			mutate(t, n, model, rng, 5)
		}
		if err := amend(t, n, "refcount_bits=1"); err == nil || !strings.Contains(err.Error(), "Cannot decrease refcount entry width to 1 bits") {
			t.Fatalf("shared clusters in one bit: %v", err)
		}
		n.Close()
		sound(t, s, "after a refusal")
	}
}

// TestAmendCrashes crashes changes of width and version after every event: leaks only, content stays.
func TestAmendCrashes(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(13, 14))
	model := make([]byte, 200<<10)
	s := newImage(t, "cluster_size=1k", int64(len(model)))
	n := openStore(t, s, rw)
	mutate(t, n, model, rng, 30)
	takeSnapshot(t, n, "a")
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n = openStore(t, s, rw)
	start := s.Events()
	for _, step := range []string{"refcount_bits=64", "refcount_bits=4", "refcount_bits=16,compat=0.10", "compat=1.1"} {
		if err := amend(t, n, step); err != nil {
			t.Fatal(err)
		}
	}
	n.Close()
	for at := start; at <= s.Events(); at++ {
		c := s.Crash(at, rand.New(rand.NewPCG(uint64(at), 1)))
		if lines, res := audit(t, c, 0); res.Corruptions+res.CheckErrors > 0 {
			t.Fatalf("crash at %d: %+v\n%s", at, res, strings.Join(lines, "\n"))
		}
		n := openStore(t, c, 0)
		same(t, fmt.Sprintf("crash at %d", at), content(t, n), model)
		same(t, fmt.Sprintf("crash at %d: snapshot", at), readSnapshot(t, n, "a"), model)
		n.Close()
	}
}

// TestMakeEmpty drops what a layer holds; a crash at any moment leaves leaks only.
func TestMakeEmpty(t *testing.T) {
	t.Parallel()
	for _, opts := range []string{"cluster_size=512", "cluster_size=64k", "compat=0.10"} {
		rng := rand.New(rand.NewPCG(1, 1))
		model := make([]byte, 300<<10)
		s := newImage(t, opts, int64(len(model)))
		n := openStore(t, s, rw)
		mutate(t, n, model, rng, 30)
		e, _ := formats.As[formats.Emptier](n)
		start := s.Events()
		must(t, n, func() error { return e.MakeEmpty(context.Background()) })
		same(t, "emptied", content(t, n), make([]byte, len(model)))
		clear(model)
		mutate(t, n, model, rng, 10)
		same(t, "written again", content(t, n), model)
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		sound(t, s, opts)
		for at := start; at <= s.Events(); at += 1 + (s.Events()-start)/60 {
			if lines, res := audit(t, s.Crash(at, rng), 0); res.Corruptions+res.CheckErrors > 0 {
				t.Fatalf("crash at %d: %+v\n%s", at, res, strings.Join(lines, "\n"))
			}
		}
	}
}

// TestChangeBacking writes another backing file's name.
func TestChangeBacking(t *testing.T) {
	s := newImage(t, "", 1<<20)
	n := openStore(t, s, rw)
	r, _ := formats.As[formats.Rebacker](n)
	for _, c := range [][2]string{{"some.raw", "raw"}, {"other with a longer name.qcow2", "qcow2"}, {"", ""}} {
		must(t, n, func() error { return r.ChangeBacking(context.Background(), c[0], c[1]) })
		b, _ := formats.As[formats.Backed](n)
		if name, format := b.BackingFile(); name != c[0] || format != c[1] {
			t.Errorf("says %q %q, want %q", name, format, c)
		}
		raw := s.Bytes("disk")
		if c[0] != "" && !bytes.Contains(raw[:65536], []byte(c[0])) {
			t.Errorf("%q is not in the file", c[0])
		}
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	sound(t, s, "in the end")
}

// TestChangeBackingCrashes crashes after every event, sectors torn apart: the header names one file or the other.
func TestChangeBackingCrashes(t *testing.T) {
	t.Parallel()
	names := [][2]string{{"", ""}, {"base.raw", "raw"}, {"another with a longer name.qcow2", "qcow2"}, {strings.Repeat("n", 1000), "raw"},
		{"x", "qcow2"}, {"", ""}}
	for _, opts := range []string{"cluster_size=4k", "cluster_size=4k,compat=0.10"} {
		s := newImage(t, opts, 1<<20)
		n := openStore(t, s, rw)
		r, _ := formats.As[formats.Rebacker](n)
		starts := []int{s.Events()}
		list := names
		for _, c := range list[1:] {
			must(t, n, func() error { return r.ChangeBacking(context.Background(), c[0], c[1]) })
			starts = append(starts, s.Events())
		}
		for at := starts[0]; at <= s.Events(); at++ {
			for seed := range uint64(100) {
				c := s.Crash(at, rand.New(rand.NewPCG(uint64(at), seed)))
				crashed := openStore(t, c, formats.NoBacking|formats.NoIO)
				b, _ := formats.As[formats.Backed](crashed)
				name, format := b.BackingFile()
				crashed.Close()
				k := 0
				for k+1 < len(starts) && starts[k+1] <= at {
					k++
				}
				got := [2]string{name, format}
				if got != list[k] && (k+1 == len(list) || got != list[k+1]) {
					t.Fatalf("%s: crash at %d, seed %d: %q", opts, at, seed, got)
				}
			}
		}
		n.Close()
	}
}
