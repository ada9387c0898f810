package vmdk_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/formats/all"
	"platter/integration/programs"
)

// stock runs a stock tool, or skips.
func stock(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	program := programs.StockPath(t, name)
	out, err := exec.Command(program, args...).CombinedOutput()
	return string(out), err
}

func environment(t testing.TB) *chain.Env {
	return &chain.Env{Registry: all.Registry(), Env: &formats.Env{
		Secret: func(string) ([]byte, error) { return nil, nil },
		Object: func(string) (any, bool) { return nil, false },
		Warn:   t.Logf, Report: t.Logf,
	}}
}

// read opens disk.vmdk of the current directory and reads all of it.
func read(t testing.TB, env *chain.Env) (content []byte, open, read error) {
	ctx := context.Background()
	n, err := chain.Open(ctx, env, chain.Request{Filename: "disk.vmdk", Format: "vmdk"})
	if err != nil {
		return nil, err, nil
	}
	defer n.Close()
	content = make([]byte, n.Size())
	return content, nil, n.ReadAt(ctx, content, 0)
}

func (f files) write(t testing.TB) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, p := range f {
		if err := os.WriteFile(name, p, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMadeDisks holds hand-made disks, right and damaged ones, against what stock makes of them.
func TestMadeDisks(t *testing.T) {
	// Stock opens it and fails when it reads.
	stricter := map[string]bool{"seSparse damage 10": true}
	for name, f := range madeDisks() {
		t.Run(name, func(t *testing.T) {
			f.write(t)
			got, openErr, readErr := read(t, environment(t))
			out, err := stock(t, "qemu-img", "convert", "-f", "vmdk", "-O", "raw", "disk.vmdk", "out.raw")
			if stricter[name] {
				if openErr == nil || err == nil {
					t.Errorf("open: %v, stock: %v", openErr, err)
				}
				return
			}
			if openErr != nil {
				want := strings.TrimSuffix(strings.TrimPrefix(out, "qemu-img: Could not open 'disk.vmdk': "), "\n")
				if openErr.Error() != want {
					t.Errorf("open: %q\nstock: %q", openErr, want)
				}
				return
			}
			if (readErr != nil) != (err != nil) {
				t.Fatalf("read: %v\nstock: %v %s", readErr, err, out)
			}
			want, _ := os.ReadFile("out.raw")
			if readErr == nil && !bytes.Equal(got, want) {
				t.Errorf("the content of %d bytes is not stock's of %d", len(got), len(want))
			}
		})
	}
}

// change writes to the disk through the graph.
func change(t *testing.T, do func(n *chain.Node) error) {
	t.Helper()
	n, err := chain.Open(context.Background(), environment(t), chain.Request{Filename: "disk.vmdk", Format: "vmdk",
		Flags: formats.ReadWrite | formats.Unmap})
	if err != nil {
		t.Fatal(err)
	}
	if err := do(n); err != nil {
		t.Error(err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}

// same holds the disk against want, as it is and as stock reads it, and lets stock check it.
func same(t *testing.T, want []byte) {
	t.Helper()
	got, open, err := read(t, environment(t))
	if open != nil || err != nil || !bytes.Equal(got, want) {
		t.Errorf("the disk has another content than was written (%v, %v)", open, err)
	}
	if out, err := stock(t, "qemu-img", "check", "disk.vmdk"); err != nil {
		t.Errorf("stock's check: %s", out)
	}
	if out, err := stock(t, "qemu-img", "convert", "-O", "raw", "disk.vmdk", "out.raw"); err != nil {
		t.Fatalf("stock's convert: %s", out)
	}
	if theirs, _ := os.ReadFile("out.raw"); !bytes.Equal(theirs, want) {
		t.Error("stock reads another content than was written")
	}
}

// TestWritten: stock reads what was written into disks that have grain tables of all kinds, or none.
func TestWritten(t *testing.T) {
	made := madeDisks()
	h := plainHeader()
	h.flags = 1
	bare := sparse(h, text("monolithicSparse"))
	clear(bare[26*sector : 28*sector])
	copy(bare[26*sector:], le32(0))
	noTables := sparse(plainHeader(), text("monolithicSparse"))
	clear(noTables[21*sector : 32*sector])
	mixed := made["crlf, mixed extents"]
	mixed["g.bin"] = mixed["f.bin"] // two writers of one file are refused, by stock as well
	mixed["disk.vmdk"] = bytes.Replace(mixed["disk.vmdk"], []byte(`VMFS "f.bin"`), []byte(`VMFS "g.bin"`), 1)
	for name, f := range map[string]files{"cowd": made["cowd"], "sparse": made["sparse"], "mixed": mixed,
		"no table, no copy": {"disk.vmdk": bare}, "no tables": {"disk.vmdk": noTables}} {
		t.Run(name, func(t *testing.T) {
			f.write(t)
			want, open, err := read(t, environment(t))
			if open != nil || err != nil {
				t.Fatal(open, err)
			}
			change(t, func(n *chain.Node) error {
				for _, w := range []struct{ off, n int }{{0, 1}, {700, 9000}, {len(want) - 1500, 1500}, {5000, 100}} {
					p := pattern(byte(w.off), 20)[:w.n]
					copy(want[w.off:], p)
					if err := n.WriteAt(context.Background(), p, int64(w.off), 0); err != nil {
						return err
					}
				}
				return nil
			})
			same(t, want)
		})
	}
}

// TestContentID: a write gives the disk another content ID, without moving what stands behind it, and a child whose
// parent has changed cannot be read where the parent would be.
func TestContentID(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, args := range [][]string{
		{"create", "-q", "-f", "vmdk", "parent.vmdk", "1M"},
		{"create", "-q", "-f", "vmdk", "-b", "parent.vmdk", "-F", "vmdk", "disk.vmdk"},
	} {
		if out, err := stock(t, "qemu-img", args...); err != nil {
			t.Fatal(out)
		}
	}
	want := make([]byte, 1<<20)
	copy(want[300:], "child")
	id := func() string {
		p, _ := os.ReadFile("disk.vmdk")
		_, rest, _ := strings.Cut(string(p), "\nCID=")
		return rest[:strings.IndexByte(rest, '\n')]
	}
	before := id()
	change(t, func(n *chain.Node) error { return n.WriteAt(context.Background(), []byte("child"), 300, 0) })
	if id() == before {
		t.Errorf("the content ID is still %s", before)
	}
	same(t, want)
	if out, err := stock(t, "qemu-io", "-f", "vmdk", "-c", "write 512k 64k", "parent.vmdk"); err != nil {
		t.Fatal(out)
	}
	n, err := chain.Open(context.Background(), environment(t), chain.Request{Filename: "disk.vmdk"})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if err := n.ReadAt(context.Background(), make([]byte, 5), 300); err != nil {
		t.Errorf("what the child has itself cannot be read: %v", err)
	}
	if err := n.ReadAt(context.Background(), make([]byte, 5), 512<<10); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("a changed parent is read: %v, want EINVAL", err)
	}
}

// TestCompressedWrites: grains are written whole, once, in any order; stock reads them.
func TestCompressedWrites(t *testing.T) {
	t.Chdir(t.TempDir())
	if out, err := stock(t, "qemu-img", "create", "-q", "-f", "vmdk", "-o", "subformat=streamOptimized", "disk.vmdk", "1000k"); err != nil {
		t.Fatal(out)
	}
	ctx, want := context.Background(), make([]byte, 1000<<10)
	change(t, func(n *chain.Node) error {
		c, _ := formats.As[formats.CompressedWriter](n)
		write := func(off, size int) error {
			p := make([]byte, size)
			rng := rand.New(rand.NewPCG(uint64(off), 1))
			for i := range p {
				p[i] = byte(rng.Uint32() >> (off >> 16 & 7))
			}
			copy(want[off:], p)
			return c.WriteCompressed(ctx, p, int64(off))
		}
		for _, off := range []int{5 << 16, 0, 15 << 16, 2 << 16} {
			if err := write(off, min(1<<16, len(want)-off)); err != nil {
				return err
			}
		}
		if err := n.WriteAt(ctx, make([]byte, 1<<16), 5<<16, 0); !errors.Is(err, syscall.EIO) {
			t.Errorf("a stored grain is written again: %v, want EIO", err)
		}
		if err := n.WriteAt(ctx, make([]byte, 512), 9<<16, 0); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("part of a grain is written: %v, want EINVAL", err)
		}
		return c.WriteCompressed(ctx, nil, 0)
	})
	same(t, want)
}

// TestZeroedGrains: zeroes over whole grains are entries of the table, which stock reads, and a later write brings back
// one grain alone.
func TestZeroedGrains(t *testing.T) {
	t.Chdir(t.TempDir())
	if out, err := stock(t, "qemu-img", "create", "-q", "-f", "vmdk", "-o", "zeroed_grain=on", "disk.vmdk", "1M"); err != nil {
		t.Fatal(out)
	}
	ctx, want := context.Background(), pattern(77, 2048)
	change(t, func(n *chain.Node) error { return n.WriteAt(ctx, want, 0, 0) })
	before, _ := os.Stat("disk.vmdk")
	clear(want[128<<10 : 384<<10])
	change(t, func(n *chain.Node) error { return n.WriteZeroes(ctx, 128<<10, 256<<10, 0) })
	if after, _ := os.Stat("disk.vmdk"); after.Size() != before.Size() {
		t.Errorf("the file has grown from %d to %d bytes", before.Size(), after.Size())
	}
	same(t, want)
	copy(want[200<<10:], "here")
	change(t, func(n *chain.Node) error { return n.WriteAt(ctx, []byte("here"), 200<<10, 0) })
	same(t, want)
}

// TestRefusedWrites: what cannot be written is left as it is.
func TestRefusedWrites(t *testing.T) {
	ctx, made := context.Background(), madeDisks()
	made["stream"].write(t)
	change(t, func(n *chain.Node) error {
		if err := n.WriteAt(ctx, make([]byte, 64<<10), 0, 0); !errors.Is(err, syscall.ENOTSUP) {
			t.Errorf("a grain is put behind the footer: %v, want ENOTSUP", err)
		}
		return nil
	})
	if p, _ := os.ReadFile("disk.vmdk"); !bytes.Equal(p, made["stream"]["disk.vmdk"]) {
		t.Error("the file has changed")
	}
	made["seSparse"].write(t)
	out, _ := stock(t, "qemu-io", "-f", "vmdk", "-c", "write 0 512", "disk.vmdk")
	_, err := chain.Open(ctx, environment(t), chain.Request{Filename: "disk.vmdk", Format: "vmdk", Flags: formats.ReadWrite})
	if err == nil || !strings.Contains(out, err.Error()) {
		t.Errorf("open for writing: %v\nstock: %s", err, out)
	}
}
