package qcow2_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"platter/formats"
	"platter/formats/formatstest"
)

var harmless = regexp.MustCompile(`^(Leaked cluster|ERROR OFLAG_COPIED (data|L2) cluster: )`)

// moment is what a crash may leave from an event of the log on.
type moment struct {
	at    int
	disks [][]byte
	snaps map[string][]byte // present for sure, with their content
}

// TestSnapshotCrashes crashes snapshot operations after every event. Check finds leaks, and COPIED flags that differ from
// refcounts of leaked clusters; content is whole; and writing everywhere before any repair changes no snapshot.
func TestSnapshotCrashes(t *testing.T) {
	for _, opts := range []string{"cluster_size=512", "cluster_size=4k,extended_l2=off,refcount_bits=64"} {
		t.Run(opts, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(3, 4))
			ctx := context.Background()
			model := make([]byte, 96<<10)
			s := newImage(t, opts, int64(len(model)))
			n := openStore(t, s, rw)
			snaps := map[string][]byte{}
			var moments []moment
			note := func(disks ...[]byte) {
				m := moment{at: s.Events(), snaps: map[string][]byte{}}
				for _, d := range disks {
					m.disks = append(m.disks, bytes.Clone(d))
				}
				for k, v := range snaps {
					m.snaps[k] = v
				}
				moments = append(moments, m)
			}
			write := func() {
				note()
				mutate(t, n, model, rng, 12)
				if err := n.Flush(ctx); err != nil {
					t.Fatal(err)
				}
				note(model)
			}
			create := func(name string) { takeSnapshot(t, n, name); snaps[name] = bytes.Clone(model); note(model) }
			remove := func(name string) {
				delete(snaps, name)
				note(model)
				must(t, n, func() error { return snapshotter(t, n).DeleteSnapshot(ctx, "", name) })
			}
			write()
			create("a")
			write()
			create("b")
			write()
			note(model, snaps["a"])
			must(t, n, func() error { return snapshotter(t, n).ApplySnapshot(ctx, "a") })
			copy(model, snaps["a"])
			note(model)
			create("c")
			remove("a")
			remove("b")
			write()
			remove("c")
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			sound(t, s, "at the end")
			for _, m := range moments {
				t.Logf("moment at %d: %d disks", m.at, len(m.disks))
			}
			k := 0
			stride := max((s.Events()-moments[0].at)/150, 1)
			for at := moments[0].at; at <= s.Events(); at += stride {
				for k+1 < len(moments) && moments[k+1].at <= at {
					k++
				}
				crashed(t, s.Crash(at, rand.New(rand.NewPCG(uint64(at), 1))), moments[k], at)
			}
		})
	}
}

func crashed(t *testing.T, s *formatstest.Store, m moment, at int) {
	t.Helper()
	lines, _ := audit(t, s, 0)
	for _, l := range lines {
		if !harmless.MatchString(l) {
			t.Fatalf("crash at %d: %s", at, strings.Join(lines, "\n"))
		}
	}
	n := openStore(t, s, rw)
	if len(m.disks) > 0 {
		got, ok := content(t, n), false
		for _, d := range m.disks {
			ok = ok || bytes.Equal(got, d)
		}
		// A torn write of the L1 table when a snapshot is applied leaves some of both.
		for k := range got {
			if ok || len(m.disks) == 2 && (got[k] == m.disks[0][k] || got[k] == m.disks[1][k]) {
				continue
			}
			t.Fatalf("crash at %d: disk content at %#x", at, k)
		}
	}
	junk := make([]byte, n.Size())
	for k := range junk {
		junk[k] = 0xee
	}
	if err := n.WriteAt(context.Background(), junk, 0, 0); err != nil {
		t.Fatalf("crash at %d: %v", at, err)
	}
	for name, want := range m.snaps {
		same(t, fmt.Sprintf("crash at %d: snapshot %s", at, name), readSnapshot(t, n, name), want)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if _, res := audit(t, s, formats.FixErrors|formats.FixLeaks); res.Corruptions+res.CheckErrors > 0 {
		t.Fatalf("crash at %d: repair %+v", at, res)
	}
	if lines, res := audit(t, s, 0); res.Corruptions+res.Leaks+res.CheckErrors > 0 {
		t.Fatalf("crash at %d: after repair %+v\n%s", at, res, strings.Join(lines, "\n"))
	}
}

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
	steps := []string{"-c one", "write 5", "-c two", "write 6", "-a one", "-c three", "-d two", "-d one", "-a three", "-d three"}
	for _, opts := range []string{"cluster_size=64k", "cluster_size=2M", "extended_l2=on", "compat=0.10"} {
		t.Run(opts, func(t *testing.T) {
			dir := t.TempDir()
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
