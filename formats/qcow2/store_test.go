package qcow2_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/formats/all"
	"platter/formats/bitmap"
	"platter/formats/formatstest"
	"platter/formats/option"
	"platter/formats/qobj"
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
		Env: &formats.Env{Secret: secretOf,
			Object: func(string) (any, bool) { return nil, false }, Warn: note, Report: note}}
}

// newImage makes an image "disk" in a new store.
func newImage(t testing.TB, opts string, size int64) *formatstest.Store {
	t.Helper()
	return newImageWith(t, opts, size, nil)
}

// newImageWith is newImage in a store in which before has put other files.
func newImageWith(t testing.TB, opts string, size int64, before func(*formatstest.Store)) *formatstest.Store {
	t.Helper()
	s := formatstest.NewStore()
	if before != nil {
		before(s)
	}
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

// keyOptions are the runtime options that an image made with an -o list needs.
func keyOptions(opts string) map[string]string {
	if strings.Contains(opts, "encrypt") {
		return map[string]string{"encrypt.key-secret": "s"}
	}
	return nil
}

func openOptions(s *formatstest.Store, flags formats.OpenFlags, opts map[string]string) (*chain.Node, error) {
	return openReporting(s, flags, opts, nil)
}

// openReporting opens the image "disk" of a store; lines get what is reported.
func openReporting(s *formatstest.Store, flags formats.OpenFlags, opts map[string]string, lines *[]string) (*chain.Node, error) {
	d := qobj.NewDict()
	for k, v := range opts {
		d.Set(k, v)
	}
	return chain.Open(context.Background(), storeEnv(s, lines),
		chain.Request{Filename: formatstest.Name("disk"), Format: "qcow2", Options: d, Flags: flags})
}

func openStore(t testing.TB, s *formatstest.Store, flags formats.OpenFlags) *chain.Node {
	t.Helper()
	n, err := openOptions(s, flags, nil)
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

// snapshotList lists the snapshots of an image that can have any.
func snapshotList(t testing.TB, n *chain.Node) []formats.Snapshot {
	t.Helper()
	list, err := snapshotter(t, n).Snapshots(context.Background())
	if err != nil && !errors.Is(err, syscall.ENOTSUP) {
		t.Fatal(err)
	}
	return list
}

// equalBits says whether two bitmaps have the same bits.
func equalBits(a, b *bitmap.Bitmap) bool {
	if a.Size() != b.Size() || a.Granularity() != b.Granularity() {
		return false
	}
	for off := int64(0); ; {
		x, n := a.Next(off)
		y, m := b.Next(off)
		if x != y || n != m {
			return false
		}
		if n == 0 {
			return true
		}
		off = x + n
	}
}

// onlyLeaks says whether an error is that of a check that has found leaks and nothing else.
func onlyLeaks(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.ExitCode() == 3
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
	return auditOptions(t, s, fix, nil)
}

func auditOptions(t testing.TB, s *formatstest.Store, fix formats.FixMode, opts map[string]string) ([]string, formats.CheckResult) {
	t.Helper()
	var lines []string
	flags := formats.ForCheck
	if fix != 0 {
		flags |= rw
	}
	n, err := openReporting(s, flags, opts, &lines)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	c, _ := formats.As[formats.Checker](n)
	var res formats.CheckResult
	must(t, n, func() (err error) {
		res, err = c.Check(context.Background(), fix, storeEnv(s, &lines).Env)
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
	name := filepath.Join(fastDir(t), "disk")
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
