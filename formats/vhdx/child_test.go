package vhdx

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
	"platter/formats/formatstest"
	"platter/formats/protocol/file"
	"platter/formats/raw"
	"platter/integration/programs"
)

// beyond are vhdx with the options that QEMU's does not have, and what it stands on.
func beyond() []*formats.Driver {
	return formats.NewRegistry(raw.Driver(), Driver()).Beyond().All()
}

// createWith makes an image.
func createWith(env *chain.Env, name, options string, size int64) error {
	drv := env.Registry.Find("vhdx")
	v, err := drv.CreateOpts.Parse(options)
	if err != nil {
		return err
	}
	return chain.Create(context.Background(), env, chain.CreateRequest{Filename: name, Driver: drv, Options: v, Size: size})
}

func TestSuiteDifferencing(t *testing.T) {
	base := formatstest.Name("base.vhdx")
	for _, o := range []string{"", ",block_size=2M"} {
		formatstest.Run(t, formatstest.Subject{Drivers: beyond(), Format: "vhdx", Size: 5<<20 + 512,
			Options: "backing_file=" + base + o,
			Prepare: func(t testing.TB, env *chain.Env) {
				if err := createWith(env, base, "block_size=1M", 5<<20+512); err != nil {
					t.Fatal(err)
				}
			}})
	}
}

// hostEnv is an environment over the host's files.
func hostEnv() *chain.Env {
	e := env(&strings.Builder{})
	e.Registry = formats.NewRegistry(append(beyond(), file.Driver())...)
	return e
}

// TestCreatedChain makes a chain of three and lets libvhdi read it, too.
func TestCreatedChain(t *testing.T) {
	const size = 70 << 20
	dir, rng := t.TempDir(), rand.New(rand.NewPCG(4, 5))
	want := make([]byte, size)
	scribble := func(name string) {
		t.Helper()
		n, err := chain.Open(t.Context(), hostEnv(), chain.Request{Filename: name, Format: "vhdx", Flags: formats.ReadWrite})
		if err != nil {
			t.Fatal(err)
		}
		for range 40 {
			off := rng.Int64N(size) &^ 511
			k := min(512*(1+rng.Int64N(100)), size-off)
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
	base, child, top := filepath.Join(dir, "base.vhdx"), filepath.Join(dir, "child.vhdx"), filepath.Join(dir, "in", "top.vhdx")
	if err := os.Mkdir(filepath.Dir(top), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, options string }{
		{base, ""}, {child, "backing_file=base.vhdx"}, {top, "backing_file=../child.vhdx,block_size=4M,log_size=2M"},
	} {
		if err := createWith(hostEnv(), c.name, c.options, size); err != nil {
			t.Fatal(err)
		}
		scribble(c.name)
		if c.name == child {
			if got := programs.ReadThrough(t, "vhdimount", child); !bytes.Equal(got, want) {
				t.Error("libvhdi reads the child otherwise")
			}
		}
	}
	n, err := chain.Open(t.Context(), hostEnv(), chain.Request{Filename: top, Format: "vhdx"})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	wantContent(t, n, want, "the top")
}

// TestCreateRefuses are parents and options that make no differencing image.
func TestCreateRefuses(t *testing.T) {
	t.Chdir(t.TempDir())
	const size = 5 << 20
	if err := createWith(hostEnv(), "base.vhdx", "", size); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		options string
		size    int64
		want    string
	}{
		{"backing_file=base.vhdx", size + 512, "has the size of its backing file"},
		{"backing_file=base.vhdx,subformat=fixed", size, "Only a dynamic image can have a backing file"},
		{"backing_file=base.vhdx,backing_fmt=raw", size, "backing_file must be a vhdx image"},
		{"backing_file=base.vhdx,block_state_zero=on", size, "would hide the backing file"},
		{"backing_file=none.vhdx", size, "No such file or directory"},
		{"backing_file=base.vhdx,block_size=3M", size, "power of two"},
	} {
		if err := createWith(hostEnv(), "child.vhdx", c.options, c.size); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, %d bytes: %v, want %q", c.options, c.size, err, c.want)
		}
	}
}
