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

	"platter/chain"
	"platter/formats"
	"platter/formats/all"
	"platter/formats/formatstest"
	"platter/formats/option"
	"platter/integration/programs"
)

const rw = formats.ReadWrite | formats.Resize | formats.Unmap

// storeEnv is an environment over files in memory; lines get what is reported.
func storeEnv(s *formatstest.Store, lines *[]string) *chain.Env {
	note := func(f string, a ...any) {
		if lines != nil {
			*lines = append(*lines, fmt.Sprintf(f, a...))
		}
	}
	return &chain.Env{Registry: formats.NewRegistry(append([]*formats.Driver{s.Driver()}, all.Registry().All()...)...),
		Env: &formats.Env{Secret: func(string) ([]byte, error) { return []byte("secret"), nil },
			Object: func(string) (any, bool) { return nil, false }, Warn: note, Report: note}}
}

// newImage makes an image "disk" in a new store.
func newImage(t testing.TB, opts string, size int64) *formatstest.Store {
	t.Helper()
	s := formatstest.NewStore()
	e := storeEnv(s, nil)
	drv := e.Registry.Find("qcow2")
	schema, err := chain.CreateSchema(e, drv, formatstest.Name("disk"))
	if err != nil {
		t.Fatal(err)
	}
	v := &option.Values{}
	if opts != "" {
		if v, err = schema.Parse(opts); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Set(schema, "size", fmt.Sprint(size)); err != nil {
		t.Fatal(err)
	}
	r := chain.CreateRequest{Filename: formatstest.Name("disk"), Driver: drv, Options: v, Size: size}
	if err := chain.Create(context.Background(), e, r); err != nil {
		t.Fatal(err)
	}
	return s
}

func openStore(t testing.TB, s *formatstest.Store, flags formats.OpenFlags) *chain.Node {
	t.Helper()
	n, err := chain.Open(context.Background(), storeEnv(s, nil),
		chain.Request{Filename: formatstest.Name("disk"), Format: "qcow2", Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// must does f while nothing else uses the image.
func must(t testing.TB, n *chain.Node, f func() error) {
	t.Helper()
	if err := n.Exclusive(f); err != nil {
		t.Fatal(err)
	}
}

func snapshotter(t testing.TB, n *chain.Node) formats.Snapshotter {
	t.Helper()
	s, ok := formats.As[formats.Snapshotter](n)
	if !ok {
		t.Fatal("no Snapshotter")
	}
	return s
}

func takeSnapshot(t testing.TB, n *chain.Node, name string) {
	t.Helper()
	must(t, n, func() error {
		_, err := snapshotter(t, n).CreateSnapshot(context.Background(), formats.Snapshot{Name: name})
		return err
	})
}

// readSnapshot gives a snapshot's content.
func readSnapshot(t testing.TB, n *chain.Node, name string) []byte {
	t.Helper()
	img, err := snapshotter(t, n).OpenSnapshot(context.Background(), "", name)
	if err != nil {
		t.Fatal(err)
	}
	v := n.View(img)
	defer v.Close()
	return content(t, v)
}

// audit checks an image and gives the findings.
func audit(t testing.TB, s *formatstest.Store, fix formats.FixMode) ([]string, formats.CheckResult) {
	t.Helper()
	var lines []string
	flags := formats.ForCheck
	if fix != 0 {
		flags |= rw
	}
	e := storeEnv(s, &lines)
	n, err := chain.Open(context.Background(), e, chain.Request{Filename: formatstest.Name("disk"), Format: "qcow2", Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	c, _ := formats.As[formats.Checker](n)
	var res formats.CheckResult
	must(t, n, func() (err error) {
		res, err = c.Check(context.Background(), fix, e.Env)
		return err
	})
	return lines, res
}

// sound fails unless check, ours and stock's where it is, finds nothing at all.
func sound(t testing.TB, s *formatstest.Store, when string) {
	t.Helper()
	if lines, res := audit(t, s, 0); res.Corruptions+res.Leaks+res.CheckErrors > 0 {
		t.Fatalf("%s: %+v\n%s", when, res, strings.Join(lines, "\n"))
	}
	if _, err := programs.Stock("qemu-img"); err != nil {
		return
	}
	name := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(name, s.Bytes("disk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := tryStock(t, "qemu-img", "check", "-f", "qcow2", name); err != nil {
		t.Fatalf("%s: stock check: %s", when, out)
	}
}

// mutate writes, discards and zeroes at random, and keeps the model in step.
func mutate(t testing.TB, n *chain.Node, model []byte, rng *rand.Rand, steps int) {
	t.Helper()
	ctx := context.Background()
	for range steps {
		off := rng.Int64N(int64(len(model)/512)) * 512
		count := min(512*(1+rng.Int64N(1<<rng.IntN(9))), int64(len(model))-off)
		part := model[off : off+count]
		var err error
		switch k := rng.IntN(10); {
		case k < 7:
			for j := range part {
				part[j] = byte(rng.Uint32())
			}
			err = n.WriteAt(ctx, part, off, 0)
		case k < 9:
			clear(part)
			err = n.WriteZeroes(ctx, off, count, formats.MayUnmap)
		default:
			if err = n.Discard(ctx, off, count); err == nil {
				err = n.ReadAt(ctx, part, off)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func same(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d bytes, want %d", what, len(got), len(want))
	}
	for k := range got {
		if got[k] != want[k] {
			t.Fatalf("%s: differs at %#x", what, k)
		}
	}
}

var geometries = []string{"cluster_size=512", "", "cluster_size=2M", "cluster_size=512,refcount_bits=64",
	"cluster_size=4k,refcount_bits=8", "extended_l2=on,cluster_size=16k", "compat=0.10", "lazy_refcounts=on"}

// TestSnapshotModel takes, applies and deletes snapshots between writes; disk and snapshots equal a model all the time.
func TestSnapshotModel(t *testing.T) {
	for _, opts := range geometries {
		t.Run(opts, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(7, uint64(len(opts))))
			model := make([]byte, 1<<20)
			s := newImage(t, opts, int64(len(model)))
			n := openStore(t, s, rw)
			taken := map[string][]byte{}
			ctx := context.Background()
			for step := range 30 {
				mutate(t, n, model, rng, 5)
				var names []string
				for name := range taken {
					names = append(names, name)
				}
				switch k := rng.IntN(6); {
				case k < 2:
					name := fmt.Sprintf("s%d", step)
					takeSnapshot(t, n, name)
					taken[name] = bytes.Clone(model)
				case len(names) == 0:
				case k == 2:
					must(t, n, func() error { return snapshotter(t, n).ApplySnapshot(ctx, names[0]) })
					model = bytes.Clone(taken[names[0]])
				case k == 3:
					must(t, n, func() error { return snapshotter(t, n).DeleteSnapshot(ctx, "", names[0]) })
					delete(taken, names[0])
				case k == 4 && !strings.Contains(opts, "0.10"):
					size := int64(1<<19 + rng.IntN(1<<20)&^511)
					must(t, n, func() error {
						r, _ := formats.As[formats.Resizer](n.Unwrap())
						return r.Truncate(ctx, size, formats.PreallocOff)
					})
					model = append(model, make([]byte, max(0, size-int64(len(model))))...)[:size]
				}
				same(t, "disk", content(t, n), model)
				for name, want := range taken {
					same(t, name, readSnapshot(t, n, name), want)
				}
				if step%10 == 9 {
					if err := n.Close(); err != nil {
						t.Fatal(err)
					}
					sound(t, s, fmt.Sprintf("step %d", step))
					n = openStore(t, s, rw)
				}
			}
			n.Close()
		})
	}
}

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
