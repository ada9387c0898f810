package qcow2_test

import (
	"context"
	"syscall"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/formats/formatstest"
	"platter/formats/option"
	"platter/formats/qcow2"
	"platter/formats/raw"
)

// bounded is a file that does not grow without end, as no real one does.
type bounded struct{ formats.File }

const fileLimit = 64 << 20

func (b bounded) WriteAt(ctx context.Context, p []byte, off int64, f formats.WriteFlags) error {
	if off > fileLimit-int64(len(p)) {
		return syscall.EFBIG
	}
	return b.File.WriteAt(ctx, p, off, f)
}

func (b bounded) WriteZeroes(ctx context.Context, off, n int64, f formats.WriteFlags) error {
	if off > fileLimit-n {
		return syscall.EFBIG
	}
	return b.File.WriteZeroes(ctx, off, n, f)
}

func (b bounded) Truncate(ctx context.Context, size int64, pre formats.Prealloc) error {
	if size > fileLimit {
		return syscall.EFBIG
	}
	return b.File.Truncate(ctx, size, pre)
}

// boundedDriver is the store's protocol with bounded files.
func boundedDriver(store *formatstest.Store) *formats.Driver {
	d := *store.Driver()
	open := d.Open
	d.Open = func(ctx context.Context, a formats.OpenArgs) (formats.Image, error) {
		img, err := open(ctx, a)
		if err != nil {
			return nil, err
		}
		return bounded{img.(formats.File)}, nil
	}
	return &d
}

// fuzzEnv has images in memory and no words for what is found.
func fuzzEnv(store *formatstest.Store) *chain.Env {
	return &chain.Env{Registry: formats.NewRegistry(boundedDriver(store), raw.Driver(), qcow2.Driver()),
		Gate: chain.Gate{Refs: chain.RefsNone},
		Env: &formats.Env{
			Secret: func(string) ([]byte, error) { return []byte("secret"), nil },
			Object: func(string) (any, bool) { return nil, false },
			Warn:   func(string, ...any) {}, Report: func(string, ...any) {},
		}}
}

// seed makes an image with data, zeroes and compressed clusters.
func seed(f *testing.F, list string) []byte {
	f.Helper()
	ctx, store := context.Background(), formatstest.NewStore()
	e := fuzzEnv(store)
	drv := e.Registry.Find("qcow2")
	schema, err := chain.CreateSchema(e, drv, formatstest.Name("a"))
	if err != nil {
		f.Fatal(err)
	}
	v, err := schema.Parse(list)
	if err != nil {
		f.Fatal(err)
	}
	if v == nil {
		v = &option.Values{}
	}
	if err := chain.Create(ctx, e, chain.CreateRequest{Filename: formatstest.Name("a"), Driver: drv, Options: v, Size: 1 << 20}); err != nil {
		f.Fatal(err)
	}
	n, err := chain.Open(ctx, e, chain.Request{Filename: formatstest.Name("a"), Format: "qcow2", Flags: formats.ReadWrite})
	if err != nil {
		f.Fatal(err)
	}
	cluster := int64(4096)
	_ = n.WriteAt(ctx, make([]byte, 3000), 100, 0)
	_ = n.WriteCompressed(ctx, make([]byte, cluster), 8*cluster)
	_ = n.WriteZeroes(ctx, 16*cluster, cluster, 0)
	if err := n.Close(); err != nil {
		f.Fatal(err)
	}
	return store.Bytes("a")
}

// FuzzOpen opens whatever it is given, reads, describes, writes and closes it: errors are fine, panics, hangs and huge
// allocations are not.
func FuzzOpen(f *testing.F) {
	for _, list := range []string{"cluster_size=512", "cluster_size=4k", "cluster_size=4k,compat=0.10", "cluster_size=4k,refcount_bits=1",
		"extended_l2=on,cluster_size=16k", "cluster_size=4k,compression_type=zstd", "cluster_size=4k,lazy_refcounts=on"} {
		f.Add(seed(f, list), true)
		f.Add(seed(f, list), false)
	}
	f.Fuzz(func(_ *testing.T, image []byte, write bool) {
		if len(image) > 1<<20 {
			return
		}
		ctx, store := context.Background(), formatstest.NewStore()
		store.Put("a", image)
		flags := formats.OpenFlags(0)
		if write {
			flags = formats.ReadWrite | formats.Unmap
		}
		n, err := chain.Open(ctx, fuzzEnv(store), chain.Request{Filename: formatstest.Name("a"), Format: "qcow2", Flags: flags})
		if err != nil {
			return
		}
		defer n.Close()
		if d, ok := formats.As[formats.Describer](n); ok {
			_, _, _ = d.Specific(ctx)
		}
		size := n.Size()
		p := make([]byte, 70000)
		for _, off := range []int64{0, 4096, size / 2, size - int64(len(p))} {
			if off = max(off, 0); off >= size {
				continue
			}
			part := p[:min(int64(len(p)), size-off)]
			_ = n.ReadAt(ctx, part, off)
			_, _ = n.Status(ctx, off, size-off)
			if write {
				_ = n.WriteAt(ctx, part, off, 0)
				_ = n.WriteZeroes(ctx, off, int64(len(part)), formats.MayUnmap)
				_ = n.Discard(ctx, off, min(1<<20, size-off))
			}
		}
		_ = n.Flush(ctx)
	})
}
