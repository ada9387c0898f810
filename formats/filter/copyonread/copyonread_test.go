package copyonread_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/formats/all"
)

func testEnv() *chain.Env {
	return &chain.Env{Registry: all.Registry(), Env: &formats.Env{
		Secret: func(string) ([]byte, error) { return nil, errors.New("no secrets here") },
		Object: func(string) (any, bool) { return nil, false },
		Warn:   func(string, ...any) {}, Report: func(string, ...any) {},
	}}
}

// create makes a qcow2 image of 4 MiB.
func create(t *testing.T, name, options string) {
	t.Helper()
	env := testEnv()
	drv := env.Registry.Find("qcow2")
	v, err := drv.CreateOpts.Parse("size=4M" + options)
	if err != nil {
		t.Fatal(err)
	}
	r := chain.CreateRequest{Filename: name, Driver: drv, Options: v, Size: 4 << 20}
	if err := chain.Create(context.Background(), env, r); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, name string, flags formats.OpenFlags) *chain.Node {
	t.Helper()
	n, err := chain.Open(context.Background(), testEnv(), chain.Request{Filename: name, Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestReadsFillTheOverlay(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	base, top := filepath.Join(dir, "base"), filepath.Join(dir, "top")
	create(t, base, "")
	create(t, top, ",backing_file="+base+",backing_fmt=qcow2")
	want := bytes.Repeat([]byte("base"), 1<<18)
	b := open(t, base, formats.ReadWrite)
	if err := b.WriteAt(ctx, want, 1<<20, 0); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf(`json:{"driver":"copy-on-read","file":{"driver":"qcow2","file.filename":%q}}`, top)
	n := open(t, name, formats.ReadWrite)
	var wg sync.WaitGroup
	for k := range 4 {
		wg.Go(func() { // reads that copy, beside writes that must win
			got := make([]byte, 1<<18)
			if err := n.ReadAt(ctx, got, 1<<20+int64(k)<<18); err != nil {
				t.Error(err)
			}
			if err := n.WriteAt(ctx, []byte("mine"), 1<<20+int64(k)<<18, 0); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	for k := range 4 {
		copy(want[k<<18:], "mine")
	}
	alone := open(t, fmt.Sprintf(`json:{"driver":"qcow2","backing":null,"file.filename":%q}`, top), 0)
	defer alone.Close()
	got := make([]byte, len(want))
	if err := alone.ReadAt(ctx, got, 1<<20); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the overlay without its backing file does not hold what was read (%v)", err)
	}
	if e, err := alone.Status(ctx, 3<<20, 4096); err != nil || e.State.Has(formats.Data) {
		t.Errorf("what was not read is in the overlay: %+v, %v", e, err)
	}
}

func TestAReadOnlyImageIsRefused(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x")
	create(t, name, "")
	req := chain.Request{Filename: fmt.Sprintf(`json:{"driver":"copy-on-read","file":{"driver":"qcow2","file.filename":%q}}`, name)}
	if n, err := chain.Open(context.Background(), testEnv(), req); err == nil {
		n.Close()
		t.Error("opened")
	} else if err.Error() != "Block node is read-only" {
		t.Error(err)
	}
}
