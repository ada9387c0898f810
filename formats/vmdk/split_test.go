package vmdk_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/integration/programs"
)

// make creates disk.vmdk in the current directory.
func makeDisk(t *testing.T, options string, size int64) {
	t.Helper()
	env := environment(t)
	drv := env.Registry.Find("vmdk")
	v, err := drv.CreateOpts.Parse(options)
	if err != nil {
		t.Fatal(err)
	}
	if err := chain.Create(t.Context(), env, chain.CreateRequest{Filename: "disk.vmdk", Driver: drv, Options: v, Size: size}); err != nil {
		t.Fatal(err)
	}
}

var contentIDs = regexp.MustCompile(`(?m)^CID=.*\n`)

// TestSplitDisks are disks of three extents: made byte for byte as by stock, written where the extents meet by either and
// read by the other.
func TestSplitDisks(t *testing.T) {
	const size = 5000 << 20
	for _, kind := range []string{"twoGbMaxExtentSparse", "twoGbMaxExtentFlat"} {
		t.Run(kind, func(t *testing.T) {
			t.Chdir(t.TempDir())
			if out, err := stock(t, "qemu-img", "create", "-q", "-f", "vmdk", "-o", "subformat="+kind, "disk.vmdk", fmt.Sprint(size)); err != nil {
				t.Fatal(out)
			}
			was := map[string][]byte{}
			names, _ := filepath.Glob("*")
			for _, name := range names {
				was[name] = head(t, name)
				os.Remove(name)
			}
			makeDisk(t, "subformat="+kind, size)
			for _, name := range names {
				if !bytes.Equal(head(t, name), was[name]) {
					t.Errorf("%s is not as stock makes it", name)
				}
			}
			if len(names) != 4 {
				t.Errorf("files: %v", names)
			}
			change(t, func(n *chain.Node) error {
				for i, off := range []int64{2<<30 - 100<<10, 4<<30 - 64<<10, size - 70<<10} {
					p := bytes.Repeat([]byte{byte(i + 1)}, int(min(200<<10, size-off)))
					if err := n.WriteAt(t.Context(), p, off, 0); err != nil {
						return err
					}
				}
				return nil
			})
			if out, err := stock(t, "qemu-io", "-f", "vmdk", "-c", "read -P 1 2097052k 200k", "-c", "read -P 2 4194240k 200k",
				"-c", "read -P 3 5119930k 70k", "-c", "read -P 0 2097252k 1M", "-c", "write -P 9 2096640k 1M", "disk.vmdk"); err != nil ||
				bytes.Contains([]byte(out), []byte("failed")) {
				t.Errorf("stock: %v\n%s", err, out)
			}
			change(t, func(n *chain.Node) error {
				p := make([]byte, 1<<20)
				err := n.ReadAt(t.Context(), p, 2096640<<10)
				if !bytes.Equal(p, bytes.Repeat([]byte{9}, 1<<20)) {
					t.Error("what stock has written is not read")
				}
				return err
			})
		})
	}
}

// head is the length of a file and its first MiB, both without the content ID, which stock writes in up to eight digits.
func head(t *testing.T, name string) []byte {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, min(st.Size(), 1<<20))
	if _, err := f.ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
	without := contentIDs.ReplaceAll(p, nil)
	return fmt.Appendf(without, "%d", st.Size()-int64(len(p)-len(without)))
}

// TestLibvmdk lets libvmdk read disks of each kind that can be written, but for monolithicFlat, which it does not know.
func TestLibvmdk(t *testing.T) {
	const size = 3<<20 + 512
	for _, kind := range []string{"monolithicSparse", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "streamOptimized"} {
		t.Run(kind, func(t *testing.T) {
			t.Chdir(t.TempDir())
			makeDisk(t, "subformat="+kind, size)
			want := make([]byte, size)
			change(t, func(n *chain.Node) error {
				if c, ok := formats.As[formats.CompressedWriter](n); ok && kind == "streamOptimized" {
					copy(want[64<<10:10*64<<10], bytes.Repeat([]byte("stream"), 100<<10))
					if err := c.WriteCompressed(t.Context(), want[64<<10:10*64<<10], 64<<10); err != nil {
						return err
					}
					return c.WriteCompressed(t.Context(), nil, 0)
				}
				for i, off := range []int{1000, 1 << 20, 2<<20 - 3000, size - 5000} {
					p := bytes.Repeat([]byte{byte(i + 1), 7}, 2500)
					copy(want[off:], p)
					if err := n.WriteAt(t.Context(), p, int64(off), 0); err != nil {
						return err
					}
				}
				return nil
			})
			if got := programs.ReadThrough(t, "vmdkmount", "disk.vmdk"); !bytes.Equal(got, want) {
				t.Errorf("libvmdk reads something else (%d bytes of %d)", len(got), len(want))
			}
		})
	}
}
