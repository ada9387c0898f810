package vdi_test

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
	"platter/formats/option"
	"platter/formats/protocol/file"
	"platter/formats/raw"
	"platter/formats/vdi"
)

const (
	atID     = 392
	atChange = 408
	atLink   = 424
	diskSize = 5<<20 + 512
)

// env is an environment over the host's files; warnings go to said.
func env(said *strings.Builder, refs chain.Refs) *chain.Env {
	return &chain.Env{Gate: chain.Gate{Refs: refs},
		Registry: formats.NewRegistry(raw.Driver(), vdi.Driver(), file.Driver()), Env: &formats.Env{
			Secret: func(string) ([]byte, error) { return nil, nil },
			Object: func(string) (any, bool) { return nil, false },
			Warn:   func(f string, a ...any) { fmt.Fprintf(said, f+"\n", a...) },
			Report: func(f string, a ...any) { fmt.Fprintf(said, f+"\n", a...) },
		}}
}

func open(name string, flags formats.OpenFlags, refs chain.Refs) (*chain.Node, string, error) {
	var said strings.Builder
	n, err := chain.Open(context.Background(), env(&said, refs), chain.Request{Filename: name, Format: "vdi", Flags: flags})
	return n, said.String(), err
}

// makeImage creates an image; parent, if it is not "", is what it is made a differencing image of.
func makeImage(t testing.TB, name, parent string) {
	t.Helper()
	e := env(&strings.Builder{}, chain.RefsAny)
	err := chain.Create(t.Context(), e, chain.CreateRequest{
		Filename: name, Driver: e.Registry.Find("vdi"), Options: &option.Values{}, Size: diskSize})
	if err != nil {
		t.Fatal(err)
	}
	if parent == "" {
		return
	}
	p, err := os.ReadFile(parent)
	if err != nil {
		t.Fatal(err)
	}
	patch(t, name, func(b []byte) {
		b[76] = 4
		copy(b[atLink:], p[atID:atID+32]) // and the stamp
	})
}

func patch(t testing.TB, name string, change func(b []byte)) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	change(b)
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// scribble writes random data at random places of an image and into want.
func scribble(t testing.TB, name string, want []byte, rng *rand.Rand, times int) {
	t.Helper()
	n, _, err := open(name, formats.ReadWrite, chain.RefsAny)
	if err != nil {
		t.Fatal(err)
	}
	for range times {
		off := rng.Int64N(int64(len(want)))
		k := min(1+rng.Int64N(30000), int64(len(want))-off)
		for i := range want[off : off+k] {
			want[off+int64(i)] = byte(rng.Uint32())
		}
		if err := n.WriteAt(t.Context(), want[off:off+k], off, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
}

func readsAs(t testing.TB, name string, want []byte) {
	t.Helper()
	n, _, err := open(name, 0, chain.RefsAny)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	got := make([]byte, n.Size())
	if err := n.ReadAt(t.Context(), got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s reads otherwise (%v)", filepath.Base(name), err)
	}
}

// TestDifferencing is a chain as VirtualBox lays it out: the first image in a folder, the others in one below it.
func TestDifferencing(t *testing.T) {
	dir, rng := t.TempDir(), rand.New(rand.NewPCG(1, 2))
	below := filepath.Join(dir, "Snapshots")
	if err := os.Mkdir(below, 0o700); err != nil {
		t.Fatal(err)
	}
	names := []string{filepath.Join(dir, "base.vdi"), filepath.Join(below, "a.vdi"), filepath.Join(below, "b.vdi")}
	want := make([]byte, diskSize)
	parent := ""
	for _, name := range names {
		makeImage(t, name, parent)
		scribble(t, name, want, rng, 3)
		readsAs(t, name, want)
		parent = name
	}
	// A block that the child has given up is zeroes, not the parent's.
	patch(t, names[2], func(b []byte) { copy(b[512:], []byte{0xfe, 0xff, 0xff, 0xff}) })
	clear(want[:1<<20])
	readsAs(t, names[2], want)
	scribble(t, names[2], want[:1<<19], rng, 2)
	readsAs(t, names[2], want)

	n, said, err := open(names[2], 0, chain.RefsAny)
	if err != nil || said != "" {
		t.Fatalf("%v, said %q", err, said)
	}
	if name := n.Backing().Filename(); name != names[1] {
		t.Errorf("the parent is %s", name)
	}
	n.Close()
	scribble(t, names[1], make([]byte, diskSize), rng, 1)
	if n, said, err = open(names[2], 0, chain.RefsAny); err != nil || !strings.Contains(said, "may have been changed") {
		t.Fatalf("a parent that was written: %v, said %q", err, said)
	}
	n.Close()
}

// TestParentsThatDoNotFit are refused, each with the reason.
func TestParentsThatDoNotFit(t *testing.T) {
	dir := t.TempDir()
	base, child := filepath.Join(dir, "base.vdi"), filepath.Join(dir, "in", "child.vdi")
	if err := os.Mkdir(filepath.Dir(child), 0o700); err != nil {
		t.Fatal(err)
	}
	makeImage(t, base, "")
	makeImage(t, child, base)
	refused := func(refs chain.Refs, want string) {
		t.Helper()
		before, _ := os.ReadFile(child)
		n, _, err := open(child, formats.ReadWrite, refs)
		if err == nil {
			n.Close()
			t.Fatalf("opened, want %q", want)
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if after, _ := os.ReadFile(child); !bytes.Equal(before, after) {
			t.Error("the image has been changed")
		}
	}
	refused(chain.RefsNone, "references are off")
	refused(chain.RefsSameDir, "which is not allowed")
	n, _, err := open(child, 0, chain.RefsFile)
	if err != nil {
		t.Fatal(err)
	}
	n.Close()
	patch(t, base, func(b []byte) { b[atID] ^= 1 })
	refused(chain.RefsAny, "}.vdi': No such file or directory")
	// The parent stands on its child.
	patch(t, base, func(b []byte) {
		b[atID] ^= 1
		c, _ := os.ReadFile(child)
		copy(b[atLink:], c[atID:atID+16])
	})
	if err := os.Rename(base, filepath.Join(filepath.Dir(child), "base.vdi")); err != nil {
		t.Fatal(err)
	}
	if n, _, err := open(child, 0, chain.RefsAny); err == nil || !strings.Contains(err.Error(), "creates an infinite loop") {
		t.Errorf("a loop: %v", err)
		if err == nil {
			n.Close()
		}
	}
}

// TestSuiteDifferencing is the suite over an image that stands on one of zeroes.
func TestSuiteDifferencing(t *testing.T) {
	base := formatstest.Name("base.vdi")
	id := bytes.Repeat([]byte{7}, 16)
	linked := vdi.Driver()
	create := linked.Create
	linked.Create = func(ctx context.Context, a formats.CreateArgs) error {
		if err := create(ctx, a); err != nil {
			return err
		}
		at := int64(atLink)
		if a.Name == base {
			at = atID
		}
		return a.File.WriteAt(ctx, id, at, 0)
	}
	formatstest.Run(t, formatstest.Subject{
		Drivers: []*formats.Driver{raw.Driver(), linked}, Format: "vdi", Recovers: true,
		Runtime: map[string]string{"backing.file.driver": "store", "backing.file.filename": base},
		Prepare: func(t testing.TB, env *chain.Env) {
			err := chain.Create(t.Context(), env, chain.CreateRequest{
				Filename: base, Driver: linked, Options: &option.Values{}, Size: 2 << 20})
			if err != nil {
				t.Fatal(err)
			}
		}})
}

// TestGaps fills a disk whose data area has gaps: no block gets a place that the disk does not have.
func TestGaps(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.vdi")
	makeImage(t, name, "")
	want := make([]byte, diskSize)
	scribble(t, name, want, rand.New(rand.NewPCG(1, 1)), 1)
	patch(t, name, func(b []byte) { // 5 is taken, 0 to 4 are not
		for k := range 6 {
			copy(b[512+4*k:], []byte{0xff, 0xff, 0xff, 0xff})
		}
		copy(b[512:], []byte{5, 0, 0, 0})
		b[388] = 6
	})
	n, _, err := open(name, formats.ReadWrite, chain.RefsAny)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		want[i] = byte(i >> 9)
	}
	if err := n.WriteAt(t.Context(), want, 0, 0); err != nil {
		t.Error(err)
	}
	c, _ := formats.As[formats.Checker](n)
	if r, err := c.Check(t.Context(), 0, env(&strings.Builder{}, chain.RefsAny).Env); err != nil || r.Corruptions > 0 {
		t.Errorf("check: %+v, %v", r, err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	readsAs(t, name, want)
}
