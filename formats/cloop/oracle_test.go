package cloop

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

// What stock says of damaged headers is said here, and what it reads of damaged tables is read here.
func TestDamagesAsStock(t *testing.T) {
	img, dir := programs.StockPath(t, "qemu-img"), t.TempDir()
	name, raw := filepath.Join(dir, "d.cloop"), filepath.Join(dir, "raw")
	for _, c := range []struct {
		at int
		v  uint32
	}{
		{0, 0x2123}, {sizesAt, 0}, {sizesAt, 513}, {sizesAt, 512}, {sizesAt, 2048}, {sizesAt, 64<<20 + 512}, {sizesAt, 1 << 31},
		{sizesAt + 4, 0}, {sizesAt + 4, 1}, {sizesAt + 4, 3}, {sizesAt + 4, 1<<26 - 1}, {sizesAt + 4, 1 << 26},
		{sizesAt + 4, 1 << 29}, {sizesAt + 4, 1 << 31}, {offsetsAt, 1}, {offsetsAt + 4, 0}, {offsetsAt + 4, 1 << 20}, {offsetsAt + 8, 1},
		{offsetsAt + 12, 0}, {offsetsAt + 12, 1 << 20}, {offsetsAt + 20, 1 << 20}, {offsetsAt + 16, 1}, {offsetsAt + 20, 0},
		{offsetsAt + 24, 0}, {offsetsAt + 28, 0xffffffff}, {offsetsAt + 40, 0},
	} {
		b := build(block('a'), block('b'))
		binary.BigEndian.PutUint32(b[c.at:], c.v)
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		os.Remove(raw)
		out, stockErr := exec.Command(img, "convert", "-f", "cloop", "-O", "raw", name, raw).CombinedOutput()
		what := fmt.Sprintf("%#x at %d", c.v, c.at)
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

// counting counts the requests that reach the file.
type counting struct {
	formats.File
	reads int
}

func (c *counting) ReadAt(ctx context.Context, p []byte, off int64) error {
	c.reads++
	return c.File.ReadAt(ctx, p, off)
}

// Reading on, in pieces of whatever length, decompresses each block once.
func TestReadingOnDecompressesOnce(t *testing.T) {
	const blocks = 40
	var list [][]byte
	for i := range blocks {
		list = append(list, block(byte(i)))
	}
	image := build(list...)
	for _, step := range []int64{512, 1024, 7 * 512, 100 * 512} {
		f := &counting{File: mem.NewFile(image)}
		d, err := open(context.Background(), formats.OpenArgs{File: f})
		if err != nil {
			t.Fatal(err)
		}
		f.reads = 0
		for off := int64(0); off < d.Size(); off += step {
			p := make([]byte, min(step, d.Size()-off))
			if err := d.ReadAt(context.Background(), p, off); err != nil {
				t.Fatal(err)
			}
		}
		if f.reads != blocks+1 { // and the table of offsets
			t.Errorf("in steps of %d: %d reads for %d blocks", step, f.reads, blocks)
		}
	}
}
