package qed_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"platter/formats"
)

// twice makes an image with stock and gives two copies.
func twice(t *testing.T, args ...string) (ours, theirs string) {
	t.Helper()
	dir := t.TempDir()
	ours, theirs = filepath.Join(dir, "ours"), filepath.Join(dir, "theirs")
	if err := os.WriteFile(filepath.Join(dir, "old.raw"), make([]byte, 512), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, stock(t, "qemu-img"), append(append([]string{"create", "-q", "-u", "-f", "qed"}, args...), theirs, "5M")...)
	run(t, stock(t, "qemu-io"), "-f", "qed", "-c", "write -P 7 1M 100k", theirs)
	b, err := os.ReadFile(theirs)
	if err == nil {
		err = os.WriteFile(ours, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}

func sameBytes(t *testing.T, ours, theirs string) {
	t.Helper()
	a, errA := os.ReadFile(ours)
	b, errB := os.ReadFile(theirs)
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Errorf("%d bytes, stock has %d, or others (%v, %v)", len(a), len(b), errA, errB)
	}
}

// Another backing file in the header: the bytes are stock's, and so is what is refused.
func TestRebaseAsStock(t *testing.T) {
	for _, c := range []struct{ from, name, format string }{
		{"", "base.raw", "raw"}, {"", "base.qcow2", "qcow2"}, {"old.raw", "", ""}, {"old.raw", "b.qed", "qed"},
		{"old.raw", strings.Repeat("n", 1023), "raw"}, {"old.raw", "a", "raw"},
	} {
		t.Run(fmt.Sprintf("%s to %.20s", c.from, c.name), func(t *testing.T) {
			var args []string
			if c.from != "" {
				args = []string{"-b", c.from, "-F", "raw"}
			}
			ours, theirs := twice(t, args...)
			args = []string{"rebase", "-u", "-f", "qed", "-b", c.name}
			if c.format != "" {
				args = append(args, "-F", c.format)
			}
			run(t, stock(t, "qemu-img"), append(args, theirs)...)
			n := openImage(t, ours, formats.ReadWrite|formats.NoBacking)
			r, ok := formats.As[formats.Rebacker](n)
			if !ok {
				t.Fatal("not a Rebacker")
			}
			if err := n.Exclusive(func() error { return r.ChangeBacking(context.Background(), c.name, c.format) }); err != nil {
				t.Fatal(err)
			}
			b, _ := formats.As[formats.Backed](n)
			if name, _ := b.BackingFile(); name != c.name {
				t.Errorf("the open image says %q", name)
			}
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			sameBytes(t, ours, theirs)
		})
	}
}

func TestARebaseThatDoesNotFit(t *testing.T) {
	ours, theirs := twice(t)
	n := openImage(t, ours, formats.ReadWrite)
	r, _ := formats.As[formats.Rebacker](n)
	long := strings.Repeat("n", 70_000)
	err := n.Exclusive(func() error { return r.ChangeBacking(context.Background(), long, "raw") })
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a name that is longer than the header: %v", err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	sameBytes(t, ours, theirs)
}

// What a resize adds is zero even where the backing file is longer, and the bytes are stock's.
func TestResizeAsStock(t *testing.T) {
	for _, size := range []int64{5 << 20, 5<<20 + 512, 100 << 20, 3 << 30} {
		ours, theirs := twice(t)
		run(t, stock(t, "qemu-img"), "resize", "-q", "-f", "qed", theirs, fmt.Sprint(size))
		n := openImage(t, ours, formats.ReadWrite|formats.Resize)
		if err := n.Truncate(context.Background(), size, formats.PreallocOff); err != nil || n.Size() != size {
			t.Errorf("to %d: %v, size %d", size, err, n.Size())
		}
		p := make([]byte, 512)
		if err := n.ReadAt(context.Background(), p, size-512); err != nil || !bytes.Equal(p, make([]byte, 512)) {
			t.Errorf("to %d: the end is not zero (%v)", size, err)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		sameBytes(t, ours, theirs)
	}
}

func TestResizeRefusals(t *testing.T) {
	for size, pre := range map[int64]string{1 << 20: "off", 1 << 62: "off", 10 << 20: "full", 11 << 20: "metadata"} {
		ours, theirs := twice(t)
		args := []string{"resize", "-f", "qed", "--shrink", "--preallocation=" + pre, theirs, fmt.Sprint(size)}
		if size > 5<<20 {
			args = append(args[:3], args[4:]...)
		}
		out, err := exec.Command(stock(t, "qemu-img"), args...).CombinedOutput()
		if err == nil {
			t.Fatalf("stock resizes to %d", size)
		}
		mode, _ := formats.ParsePrealloc(pre)
		n := openImage(t, ours, formats.ReadWrite|formats.Resize)
		err = n.Truncate(context.Background(), size, mode)
		if err == nil || !strings.Contains(string(out), err.Error()) {
			t.Errorf("to %d: ours %v, stock %s", size, err, out)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		sameBytes(t, ours, theirs)
	}
}
