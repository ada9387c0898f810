package bochs

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"platter/formats"
	"platter/formats/protocol/mem"
	"platter/integration/programs"
)

// What stock says of damaged headers is said here (but for a bitmap of no bytes, which is refused), and what it reads of damaged tables is read here.
func TestDamagesAsStock(t *testing.T) {
	img, dir := programs.StockPath(t, "qemu-img"), t.TempDir()
	name, raw := filepath.Join(dir, "d.bochs"), filepath.Join(dir, "raw")
	for _, version := range []uint32{version1, version2} {
		for _, c := range []struct {
			at int
			v  uint32
		}{
			{0, 0}, {32, 0x6f646e55}, {48, 0x616c6f56}, {64, 0}, {64, 0x30000}, {68, 0}, {68, 1 << 31}, {72, 0}, {72, 1}, {72, 0x100001},
			{72, 1 << 31}, {76, 2}, {76, 1 << 20}, {80, 0}, {80, 256}, {80, 4097}, {80, 1 << 24}, {80, 1 << 31}, {84, 1}, {88, 1},
			{92, 1}, {92, 1 << 31}, {512, 0}, {512, 1}, {516, 1}, {516, 1 << 20}, {516, 1<<32 - 2}, {520, 0xffffffff},
		} {
			b := build(version)
			binary.LittleEndian.PutUint32(b[c.at:], c.v)
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
			os.Remove(raw)
			out, stockErr := exec.Command(img, "convert", "-f", "bochs", "-O", "raw", name, raw).CombinedOutput()
			what := fmt.Sprintf("version %#x, %#x at %d", version, c.v, c.at)
			d, err := open(context.Background(), formats.OpenArgs{Name: name, File: mem.NewFile(b)})
			if err != nil {
				if want := "qemu-img: Could not open '" + name + "': " + err.Error() + "\n"; string(out) != want {
					t.Errorf("%s: %sstock: %s", what, want, out)
				}
				continue
			}
			if d.Size() > 1<<20 {
				continue
			}
			got := make([]byte, d.Size())
			err = d.ReadAt(context.Background(), got, 0)
			if stockErr != nil || err != nil {
				if (stockErr == nil) != (err == nil) {
					t.Errorf("%s: read: %v, stock: %v %s", what, err, stockErr, out)
				}
				continue
			}
			if want, err := os.ReadFile(raw); err != nil || string(got) != string(want) {
				t.Errorf("%s: %d bytes, stock reads %d, or others (%v)", what, len(got), len(want), err)
			}
		}
	}
}
