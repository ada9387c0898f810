package qcow2_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"platter/formats/formatstest"
	"platter/integration/programs"
)

// TestHundredsOfSnapshots takes 300 between writes and deletes a third of them as it goes; what is left is whole, for stock
// as well.
func TestHundredsOfSnapshots(t *testing.T) {
	t.Parallel()
	ctx, rng := context.Background(), rand.New(rand.NewPCG(2, 3))
	disk := make([]byte, 128<<10)
	s := newImage(t, "cluster_size=512", int64(len(disk)))
	n := openStore(t, s, rw)
	snaps, names := map[string][]byte{}, []string{}
	for k := range 300 {
		mutate(t, n, disk, rng, 2)
		name := fmt.Sprintf("snapshot %d", k)
		takeSnapshot(t, n, name)
		snaps[name], names = bytes.Clone(disk), append(names, name)
		if k%3 == 2 {
			at := rng.IntN(len(names))
			gone := names[at]
			must(t, n, func() error { return snapshotter(t, n).DeleteSnapshot(ctx, "", gone) })
			delete(snaps, gone)
			names = append(names[:at], names[at+1:]...)
		}
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	sound(t, s, "after 300 snapshots")
	n = openStore(t, s, 0)
	defer n.Close()
	same(t, "disk", content(t, n), disk)
	for name, want := range snaps {
		same(t, name, readSnapshot(t, n, name), want)
	}
	if _, err := programs.Stock("qemu-img"); err != nil {
		return
	}
	dir := fastDir(t)
	image, raw := filepath.Join(dir, "disk"), filepath.Join(dir, "raw")
	if err := os.WriteFile(image, s.Bytes("disk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(stock(t, "qemu-img", "snapshot", "-l", image), "snapshot "); got != len(names) {
		t.Errorf("stock lists %d snapshots, want %d", got, len(names))
	}
	for k := 0; k < len(names); k += 40 {
		stock(t, "qemu-img", "convert", "-O", "raw", "-l", "snapshot.name="+names[k], image, raw)
		got, err := os.ReadFile(raw)
		if err != nil {
			t.Fatal(err)
		}
		same(t, names[k]+" as stock reads it", got, snaps[names[k]])
	}
}

// TestCompressedFaults lets writes fail, once or on and on, while compressed clusters are stored: the error is told, what was written
// stays, and nothing leaks.
func TestCompressedFaults(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, opts := range []string{"cluster_size=512", "cluster_size=4k,compression_type=zstd"} {
		created := newImage(t, opts, 256<<10)
		for after := 0; after < 200; after += 1 + after/8 {
			s := created.Clone()
			n := openStore(t, s, rw)
			f := &formatstest.Fault{Op: formatstest.OpWrite, After: after, Once: after%3 > 0,
				Errno: []syscall.Errno{syscall.EIO, syscall.ENOSPC}[after%2]}
			s.SetFault(f)
			want := make([]byte, n.Size())
			for off := int64(0); off < n.Size(); off += 4096 {
				p := bytes.Repeat([]byte{byte(off >> 12), 1, 2, 3}, 1024)
				if n.WriteCompressed(ctx, p, off) == nil {
					copy(want[off:], p)
				} else if err := n.ReadAt(ctx, want[off:off+4096], off); err != nil {
					t.Fatal(err)
				}
			}
			_ = n.Flush(ctx) // may be what fails
			s.SetFault(nil)
			if err := n.Close(); err != nil {
				t.Fatalf("%s: fault after %d: %v", opts, after, err)
			}
			if lines, res := audit(t, s, 0); res.Corruptions+res.Leaks+res.CheckErrors > 0 {
				t.Fatalf("%s: fault after %d: %+v\n%s", opts, after, res, strings.Join(lines, "\n"))
			}
			n = openStore(t, s, 0)
			same(t, opts, content(t, n), want)
			n.Close()
			if f.Hits() == 0 {
				break
			}
		}
	}
}
