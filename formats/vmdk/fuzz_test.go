package vmdk_test

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"

	"platter/chain"
	"platter/formats"
)

// FuzzOpen: whatever stands in the two files of a disk, opening, describing, mapping, reading and checking end, without a
// panic.
func FuzzOpen(f *testing.F) {
	for _, d := range madeDisks() {
		second := []byte(nil)
		for _, name := range []string{"d.vmdk", "s.vmdk", "f.bin", "f"} {
			if p := d[name]; p != nil {
				second = p
			}
		}
		f.Add(d["disk.vmdk"], second)
	}
	ctx := context.Background()
	f.Fuzz(func(t *testing.T, disk, second []byte) {
		files{"disk.vmdk": disk, "d.vmdk": second, "s.vmdk": second, "f.bin": second}.write(t)
		env := environment(t)
		env.Gate.Refs, env.Beyond = chain.RefsSameDir, true
		n, err := chain.Open(ctx, env, chain.Request{Filename: "disk.vmdk", Format: "vmdk"})
		if err != nil {
			return
		}
		defer n.Close()
		if d, ok := formats.As[formats.Describer](n); ok {
			d.Info(ctx)
			d.Specific(ctx)
		}
		size := n.Size()
		for i, off := 0, int64(0); i < 200 && off < size; i++ {
			e, err := n.Status(ctx, off, size-off)
			if err != nil {
				break
			}
			if e.Len <= 0 || e.Len > size-off {
				t.Fatalf("an extent of %d bytes at %d of %d", e.Len, off, size)
			}
			off += e.Len
		}
		p := make([]byte, 200<<10)
		for _, off := range []int64{0, size / 2, size - int64(len(p))} {
			if off >= 0 {
				n.ReadAt(ctx, p[:min(int64(len(p)), size-off)], off)
			}
		}
		if c, ok := formats.As[formats.Checker](n); ok && size < 1<<32 {
			c.Check(ctx, 0, env.Env)
		}
	})
}

// TestRefusedReferences: what the gate does not allow is not opened, and a disk that is its own parent is found out.
func TestRefusedReferences(t *testing.T) {
	for name, line := range map[string]string{
		"outside": `RW 2 FLAT "/etc/passwd" 0`, "above": `RW 2 FLAT "../x" 0`, "device": `RW 2 FLAT "/dev/null" 0`,
		"protocol": `RW 2 FLAT "nbd:localhost:1" 0`, "json": `RW 2 FLAT "json:{" 0`,
	} {
		t.Run(name, func(t *testing.T) {
			files{"disk.vmdk": text("monolithicFlat", line)}.write(t)
			env := environment(t)
			env.Gate.Refs = chain.RefsSameDir
			if _, err, _ := read(t, env); !errors.Is(err, syscall.EPERM) {
				t.Errorf("opened: %v, want EPERM", err)
			}
		})
	}
	files{"disk.vmdk": append(text("vmfs", `RW 1 VMFS "f"`), "parentFileNameHint=\"disk.vmdk\"\n"...), "f": pattern(1, 1)}.write(t)
	before, _ := os.ReadFile("disk.vmdk")
	if _, err, _ := read(t, environment(t)); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("a disk that is its own parent: %v, want ELOOP", err)
	}
	if after, _ := os.ReadFile("disk.vmdk"); string(after) != string(before) {
		t.Error("the descriptor has changed")
	}
}
