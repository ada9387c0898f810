package vpc_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/integration/programs"
)

// beyondEnv offers what QEMU does not have.
func beyondEnv() *chain.Env {
	env := testEnv()
	env.Registry = env.Registry.Beyond()
	env.Beyond = true
	return env
}

// makeDifferencing creates child on top of parent, whose name is meant from the child's folder.
func makeDifferencing(t testing.TB, child, parent, options string, size int64) error {
	t.Helper()
	env := beyondEnv()
	drv := env.Registry.Find("vpc")
	v, err := drv.CreateOpts.Parse("backing_file=" + parent + ",backing_fmt=vpc" + options)
	if err != nil {
		t.Fatal(err)
	}
	return chain.Create(context.Background(), env, chain.CreateRequest{Filename: child, Driver: drv, Options: v, Size: size})
}

// scribble writes random data at random places of an image and into want.
func scribble(t testing.TB, name string, want []byte, rng *rand.Rand, times int) {
	t.Helper()
	n, err := openVPC(t, name, formats.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	for range times {
		off := rng.Int64N(int64(len(want))) &^ 511
		k := min(512*(1+rng.Int64N(40)), int64(len(want))-off)
		for i := range want[off : off+k] {
			want[off+int64(i)] = byte(rng.Uint32())
		}
		if err := n.WriteAt(context.Background(), want[off:off+k], off, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestCreatedChain makes a chain of three, fixed and dynamic below, and lets libvhdi read it, too.
func TestCreatedChain(t *testing.T) {
	for _, kind := range []string{"dynamic", "fixed"} {
		t.Run(kind, func(t *testing.T) {
			dir, rng := t.TempDir(), rand.New(rand.NewPCG(4, 5))
			env := testEnv()
			v, err := env.Registry.Find("vpc").CreateOpts.Parse("subformat=" + kind)
			if err != nil {
				t.Fatal(err)
			}
			base, child, top := filepath.Join(dir, "base.vhd"), filepath.Join(dir, "child.vhd"), filepath.Join(dir, "in", "top.vhd")
			create(t, env, base, v, diskSize)
			n, err := openVPC(t, base, 0)
			if err != nil {
				t.Fatal(err)
			}
			size := n.Size()
			n.Close()
			want := make([]byte, size)
			scribble(t, base, want, rng, 60)
			if err := makeDifferencing(t, child, "base.vhd", "", size); err != nil {
				t.Fatal(err)
			}
			scribble(t, child, want, rng, 50)
			scribble(t, child, want, rng, 20)
			if got := programs.ReadThrough(t, "vhdimount", child); !bytes.Equal(got, want) {
				t.Error("libvhdi reads the child otherwise")
			}
			if err := os.Mkdir(filepath.Dir(top), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := makeDifferencing(t, top, "../child.vhd", "", size); err != nil {
				t.Fatal(err)
			}
			scribble(t, top, want, rng, 30)
			n, err = openVPC(t, top, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			got := make([]byte, size)
			if err := n.ReadAt(context.Background(), got, 0); err != nil || !bytes.Equal(got, want) {
				t.Errorf("the top reads otherwise (%v)", err)
			}
		})
	}
}

// TestCreateRefuses are parents and options that make no differencing image.
func TestCreateRefuses(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	makeImage(t, "base.vhd")
	n, err := openVPC(t, "base.vhd", 0)
	if err != nil {
		t.Fatal(err)
	}
	size := n.Size()
	n.Close()
	if err := os.WriteFile(`a\b.vhd`, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		parent, options string
		size            int64
		want            string
	}{
		{"base.vhd", "", size + 512, "has the size of its backing file"},
		{"base.vhd", ",subformat=fixed", size, "Only a dynamic image can have a backing file"},
		{"base.vhd", ",backing_fmt=raw", size, "backing_file must be a vpc image"},
		{"none.vhd", "", size, "No such file or directory"},
		{`a\b.vhd`, "", size, "File too small"},
	} {
		err := makeDifferencing(t, "child.vhd", c.parent, c.options, c.size)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s%s, %d bytes: %v, want %q", c.parent, c.options, c.size, err, c.want)
		}
	}
}
