package vmdk_test

import (
	"bytes"
	"context"
	"syscall"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/formats/formatstest"
	"platter/formats/option"
)

// TestAdoptBacking: an image that adopts its backing file reads it whatever is written there, and also if a write or a
// flush of the adoption fails.
func TestAdoptBacking(t *testing.T) {
	ctx := context.Background()
	store := formatstest.NewStore()
	env := streamEnv(t, store)
	drv := env.Registry.Find("vmdk")
	create := func(name string, options ...[2]string) {
		t.Helper()
		v := &option.Values{}
		for _, o := range options {
			if err := v.Set(drv.CreateOpts, o[0], o[1]); err != nil {
				t.Fatal(err)
			}
		}
		r := chain.CreateRequest{Filename: formatstest.Name(name), Driver: drv, Options: v, Size: 1 << 20}
		if err := chain.Create(ctx, env, r); err != nil {
			t.Fatal(err)
		}
	}
	create("base.vmdk")
	create("top.vmdk", [2]string{"backing_file", formatstest.Name("base.vmdk")}, [2]string{"backing_fmt", "vmdk"})
	adopt := func(store *formatstest.Store, f *formatstest.Fault) error {
		env := streamEnv(t, store)
		open := func() *chain.Node {
			n, err := chain.Open(ctx, env, chain.Request{Filename: formatstest.Name("top.vmdk"), Format: "vmdk", Flags: formats.ReadWrite})
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		reads := func(n *chain.Node, want string) {
			t.Helper()
			got := make([]byte, len(want))
			if err := n.ReadAt(ctx, got, 512); err != nil || !bytes.Equal(got, []byte(want)) {
				t.Errorf("%+v: the image reads %q, %v, want %q", f, got, err, want)
			}
		}
		n := open()
		reads(n, "\x00\x00\x00\x00")
		if err := n.ReopenBacking(ctx, env, true); err != nil {
			t.Fatal(err)
		}
		a, ok := formats.As[formats.Adopter](n.Unwrap())
		if !ok {
			t.Fatal("a VMDK adopts nothing")
		}
		store.SetFault(f)
		err := n.Exclusive(func() error { return a.AdoptBacking(ctx) })
		store.SetFault(nil)
		want := "\x00\x00\x00\x00"
		if err == nil {
			want = "base"
			if err := n.Backing().WriteAt(ctx, []byte(want), 512, 0); err != nil {
				t.Fatal(err)
			}
		}
		reads(n, want)
		if e := n.ReopenBacking(ctx, env, false); e != nil && err == nil { // a flush that has failed once is not forgotten
			t.Error(e)
		}
		reads(n, want)
		if e := n.Close(); e != nil && err == nil {
			t.Error(e)
		}
		n = open()
		defer n.Close()
		reads(n, want)
		return err
	}
	if err := adopt(store.Clone(), nil); err != nil {
		t.Fatal(err)
	}
	for _, op := range []formatstest.Op{formatstest.OpWrite, formatstest.OpFlush} {
		for after, struck := 0, true; struck; after++ {
			f := &formatstest.Fault{Op: op, After: after, Once: true, Errno: syscall.ENOSPC}
			err := adopt(store.Clone(), f)
			if struck = f.Hits() > 0; struck != (err != nil) {
				t.Errorf("op %d after %d: %v, struck: %v", op, after, err, struck)
			}
			if after == 0 && !struck {
				t.Fatalf("op %d never failed", op)
			}
		}
	}
}
