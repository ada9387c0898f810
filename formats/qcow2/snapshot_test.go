package qcow2_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"platter/formats"
)

// maskDates takes the dates out of the snapshot table of an image.
func maskDates(b []byte) []byte {
	be := binary.BigEndian
	off := be.Uint64(b[64:])
	for range be.Uint32(b[60:]) {
		off = (off + 7) &^ 7
		e := b[off:]
		clear(e[16:24])
		off += 40 + uint64(be.Uint32(e[36:])) + uint64(be.Uint16(e[12:])) + uint64(be.Uint16(e[14:]))
	}
	return b
}

// TestSnapshotLayoutAsStock does the same to two copies of an image and compares the files.
func TestSnapshotLayoutAsStock(t *testing.T) {
	t.Parallel()
	steps := []string{"-c one", "write 5", "-c two", "write 6", "-a one", "-c three", "-d two", "-d one", "-a three", "-d three"}
	for _, opts := range []string{"cluster_size=64k", "cluster_size=2M", "extended_l2=on", "compat=0.10"} {
		t.Run(opts, func(t *testing.T) {
			dir := fastDir(t)
			ours, theirs := filepath.Join(dir, "ours"), filepath.Join(dir, "theirs")
			stock(t, "qemu-img", "create", "-q", "-f", "qcow2", "-o", opts, theirs, "8M")
			stock(t, "qemu-io", "-c", "write -P 1 0 1M", "-c", "write -P 2 3M 128k", "-c", "discard 3M 64k", theirs)
			b, _ := os.ReadFile(theirs)
			os.WriteFile(ours, b, 0o600)
			for _, step := range steps {
				verb, arg, _ := strings.Cut(step, " ")
				if verb == "write" {
					for _, f := range []string{ours, theirs} {
						stock(t, "qemu-io", "-c", "write -P "+arg+" "+arg+"12k 256k", f)
					}
					continue
				}
				stock(t, "qemu-img", "snapshot", verb, arg, theirs)
				n := openFile(t, ours, rw)
				s := snapshotter(t, n)
				must(t, n, func() (err error) {
					switch verb {
					case "-c":
						_, err = s.CreateSnapshot(context.Background(), formats.Snapshot{Name: arg})
					case "-a":
						err = s.ApplySnapshot(context.Background(), arg)
					case "-d":
						err = s.DeleteSnapshot(context.Background(), "", arg)
					}
					return err
				})
				if err := n.Close(); err != nil {
					t.Fatal(err)
				}
				a, _ := os.ReadFile(ours)
				b, _ := os.ReadFile(theirs)
				if !bytes.Equal(maskDates(a), maskDates(b)) {
					t.Fatalf("after %s the files differ (%d and %d bytes)", step, len(a), len(b))
				}
			}
		})
	}
}
