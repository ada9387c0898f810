package chain_test

import (
	"context"
	"strconv"
	"testing"

	"platter/chain"
	"platter/formats"
)

// emptyView is a state of an image in which nothing is stored in its layer.
type emptyView struct {
	formats.Image
	closed bool
}

func (v *emptyView) Status(_ context.Context, _, n int64) (formats.Extent, error) {
	return formats.Extent{Len: n}, nil
}

func (v *emptyView) Close() error { v.closed = true; return nil }

func makeImage(t *testing.T, env *chain.Env, name, format, options string, size int64) {
	t.Helper()
	drv := env.Registry.Find(format)
	schema, err := chain.CreateSchema(env, drv, name)
	if err != nil {
		t.Fatal(err)
	}
	v, err := schema.Parse(options)
	if err == nil {
		err = v.Set(schema, "size", strconv.FormatInt(size, 10))
	}
	if err == nil {
		err = chain.Create(t.Context(), env, chain.CreateRequest{Filename: name, Driver: drv, Options: v, Size: size})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestViewSharesTheBackingFile(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	env := testEnv(t, nil)
	base, top := dir+"/base", dir+"/top"
	makeImage(t, env, base, "raw", "", 1<<20)
	makeImage(t, env, top, "qcow2", "backing_file="+base+",backing_fmt=raw", 1<<20)
	n, err := chain.Open(ctx, env, chain.Request{Filename: top, Format: "qcow2", Flags: formats.ReadWrite})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.WriteAt(ctx, []byte{1}, 0, 0); err != nil {
		t.Fatal(err)
	}
	img := &emptyView{Image: n.Unwrap()}
	v := n.View(img)
	if v.Backing() != n.Backing() || !v.ReadOnly() || v.WriteAt(ctx, []byte{1}, 0, 0) == nil {
		t.Error("the view is not a read-only one on the same backing file")
	}
	l, err := v.StatusAbove(ctx, nil, 0, 4096)
	if err != nil || l.Node != n.Backing() || l.Depth != 1 {
		t.Errorf("status %+v, %v; want the backing file's", l, err)
	}
	if err := v.Close(); err != nil || !img.closed {
		t.Errorf("close: %v", err)
	}
	if err := n.ReadAt(ctx, make([]byte, 512), 0); err != nil { // through the children, which must be open still
		t.Error(err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}
