package fusefs

import (
	"bytes"
	"context"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"

	"platter/chain"
	"platter/formats"
	"platter/formats/all"
	"platter/tools"
)

// diskTree is the tree, not mounted, of a new image of 64 MiB whose first MiB is written, with disk.raw open.
func diskTree(t testing.TB, format string) (*tree, uint64) {
	t.Helper()
	ctx := context.Background()
	env := &tools.Env{Registry: all.Registry(), Env: &formats.Env{}}
	name := filepath.Join(t.TempDir(), "disk."+format)
	if err := tools.Create(ctx, env, tools.CreateOptions{Filename: name, Format: format, Size: 64 << 20}); err != nil {
		t.Fatal(err)
	}
	n, err := chain.Open(ctx, env, chain.Request{Filename: name, Format: format, Flags: formats.ReadWrite})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.WriteAt(ctx, bytes.Repeat([]byte{7}, 1<<20), 0, 0); err != nil {
		t.Fatal(err)
	}
	root := newStatic(nil)
	x := newTree(root)
	img := newImage(n, env, x)
	t.Cleanup(func() { img.close() })
	fillRoot(root, img, nil)
	h, _, err := img.disk.open(syscall.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	return x, x.handles.add(h)
}

// TestNothingAllocated: a read or a write of clusters that are there allocates nothing on its way through the tree, the
// graph and the driver.
func TestNothingAllocated(t *testing.T) {
	for _, format := range []string{"qcow2", "raw", "vdi", "vhdx", "vmdk", "vpc", "qed", "qcow", "parallels"} {
		t.Run(format, func(t *testing.T) {
			x, fh := diskTree(t, format)
			p := make([]byte, 128<<10)
			for _, n := range []int{4096, len(p)} {
				read := fuse.ReadIn{Fh: fh, Offset: 64 << 10, Size: uint32(n)}
				write := fuse.WriteIn{Fh: fh, Offset: 64 << 10, Size: uint32(n)}
				reads := testing.AllocsPerRun(100, func() {
					if k, st := x.readInto(&read, p[:n]); k != n || !st.Ok() {
						t.Fatal(k, st)
					}
				})
				writes := testing.AllocsPerRun(100, func() {
					if k, st := x.writeFrom(&write, p[:n]); k != n || !st.Ok() {
						t.Fatal(k, st)
					}
				})
				if reads != 0 || writes != 0 {
					t.Errorf("%d bytes: %v allocations a read, %v a write", n, reads, writes)
				}
			}
		})
	}
}

func BenchmarkRead4K(b *testing.B) {
	x, fh := diskTree(b, "qcow2")
	b.RunParallel(func(pb *testing.PB) {
		p := make([]byte, 4096)
		for k := uint64(0); pb.Next(); k++ {
			in := fuse.ReadIn{Fh: fh, Offset: k * 4096 & (1<<20 - 1), Size: 4096}
			x.readInto(&in, p)
		}
	})
}

func BenchmarkOverwrite4K(b *testing.B) {
	x, fh := diskTree(b, "qcow2")
	b.RunParallel(func(pb *testing.PB) {
		p := make([]byte, 4096)
		for k := uint64(0); pb.Next(); k++ {
			in := fuse.WriteIn{Fh: fh, Offset: k * 4096 & (1<<20 - 1), Size: 4096}
			x.writeFrom(&in, p)
		}
	})
}

// TestLentIsWhatIsRead: what an image lends without a copy is what reading it gives, and all of it is given back.
func TestLentIsWhatIsRead(t *testing.T) {
	for _, format := range []string{"qcow2", "raw"} {
		t.Run(format, func(t *testing.T) {
			x, fh := diskTree(t, format)
			h := x.handles.get(fh).(*dataHandle)
			rnd := rand.New(rand.NewPCG(1, 2))
			scatter(t, h, rnd)
			var l formats.Loan
			lent, p := 0, make([]byte, 1<<20)
			for range 200 {
				n, off := 4096*(1+rnd.IntN(256)), 4096*rnd.Int64N(16<<8)
				size, ok := h.lend(n, off, &l)
				if ok {
					lent++
					if k, err := h.read(p[:n], off); err != nil || k != size || !bytes.Equal(bytes.Join(l.Parts, nil), p[:k]) {
						t.Fatalf("%d bytes at %d: lent %d, read %d (%v), and not the same", n, off, size, k, err)
					}
				}
				l.Release()
			}
			if lent < 100 {
				t.Errorf("lent %d times of 200", lent)
			}
			// With a loan out nobody would get the node alone.
			if err := h.f.img.node.Exclusive(func() error { return nil }); err != nil {
				t.Error(err)
			}
			if k := testing.AllocsPerRun(100, func() { h.lend(1<<20, 0, &l); l.Release() }); k != 0 {
				t.Errorf("%v allocations a loan", k)
			}
		})
	}
}

// scatter writes and zeroes some places of the disk.
func scatter(t *testing.T, h *dataHandle, rnd *rand.Rand) {
	for k := range 60 {
		n, off := int64(4096*(1+rnd.IntN(64))), 4096*rnd.Int64N(15<<8)
		var err error
		if k%3 == 0 {
			err = h.zero(off, n, k%2 == 0)
		} else {
			_, err = h.write(bytes.Repeat([]byte{byte(k)}, int(n)), off, false)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// shrinking is a content that becomes shorter while it is read for the first time.
type shrinking struct {
	content
	left int
}

func (c *shrinking) size() int64 { return 512 * int64(1+c.left) }

func (c *shrinking) readAt(p []byte, off int64) error {
	if c.left > 0 {
		c.left--
	}
	if off+int64(len(p)) > c.size() {
		return syscall.EIO
	}
	return nil
}

// TestReadOfWhatBecomesShorter: a read that meets a disk that is made smaller ends at its end, as after a truncate.
func TestReadOfWhatBecomesShorter(t *testing.T) {
	x, fh := diskTree(t, "raw")
	h := x.handles.get(fh).(*dataHandle)
	short := &dataHandle{content: &shrinking{left: 2}, f: h.f}
	if n, err := short.read(make([]byte, 4096), 0); n != 512 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	if n, err := short.read(make([]byte, 4096), 512); n != 0 || err != nil {
		t.Errorf("behind the end: %d bytes, %v", n, err)
	}
	gone := &lower{newLayer(h.f.img, h.f.img.node, 1)}
	if gone.lend(0, 512, new(formats.Loan)) {
		t.Error("a layer that is not there lends")
	}
}
