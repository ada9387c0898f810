package tools

import (
	"context"
	"errors"
	"syscall"

	"platter/chain"
	"platter/formats"
	"platter/formats/bitmap"
	"platter/formats/qerr"
)

// BitmapOptions says what to do to a persistent dirty bitmap.
type BitmapOptions struct {
	Source
	Bitmap       string
	Actions      []BitmapAction // done in this order; those before one that fails stay done
	SourceFile   string         // image with the bitmaps that are merged; "": the image itself
	SourceFormat string
	Granularity  int64 // bytes a bit of a new bitmap; 0: the default
}

// BitmapAction is one step.
type BitmapAction struct {
	Action string // add, remove, clear, enable, disable or merge
	Source string // the bitmap to merge
}

// Bitmap changes a persistent dirty bitmap of an image.
func Bitmap(ctx context.Context, env *Env, o BitmapOptions) (err error) {
	// Bitmaps say nothing of the backing files, which may be missing.
	n, err := o.Source.Open(ctx, env, formats.ReadWrite|formats.NoBacking)
	if err != nil {
		return err
	}
	defer closing(env, n, &err)
	src := n
	if o.SourceFile != "" {
		if src, err = (Source{Filename: o.SourceFile, Format: o.SourceFormat}).Open(ctx, env, formats.NoBacking); err != nil {
			return err
		}
		defer src.Close()
	}
	for _, a := range o.Actions {
		if err := BitmapNode(ctx, n, src, o.Bitmap, a, o.Granularity); err != nil {
			return qerr.Prepend(err, "Operation %s on bitmap %s failed: ", a.Action, o.Bitmap)
		}
	}
	return n.Flush(ctx)
}

// BitmapNode does one step on an open image; merges take their bitmap from src.
func BitmapNode(ctx context.Context, n, src *chain.Node, name string, a BitmapAction, granularity int64) error {
	if a.Action == "add" {
		return addBitmap(ctx, n, name, granularity)
	}
	s, err := bitmapStore(ctx, n, name)
	if err != nil {
		return err
	}
	var bits *bitmap.Bitmap
	if a.Action == "merge" {
		if bits, err = bitmapToMerge(ctx, src, a.Source); err != nil {
			return err
		}
	}
	return n.Exclusive(func() error {
		switch a.Action {
		case "remove":
			return s.RemoveBitmap(ctx, name)
		case "clear":
			return s.ClearBitmap(ctx, name)
		case "enable", "disable":
			return s.EnableBitmap(ctx, name, a.Action == "enable")
		case "merge":
			return s.MergeBitmap(ctx, name, bits)
		}
		return qerr.New(syscall.EINVAL, "'%s' is nothing that can be done to a bitmap", a.Action)
	})
}

func bitmapToMerge(ctx context.Context, src *chain.Node, name string) (*bitmap.Bitmap, error) {
	s, err := bitmapStore(ctx, src, name)
	if err != nil {
		return nil, err
	}
	return s.Bitmap(ctx, name)
}

// bitmapStore finds the store of n if it has a bitmap of that name.
func bitmapStore(ctx context.Context, n *chain.Node, name string) (formats.BitmapStore, error) {
	s, ok := formats.As[formats.BitmapStore](n.Unwrap())
	if ok {
		list, err := s.Bitmaps(ctx)
		if err != nil {
			return nil, err
		}
		for _, b := range list {
			if b.Name == name {
				return s, nil
			}
		}
	}
	return nil, qerr.New(syscall.ENOENT, "Dirty bitmap '%s' not found", name)
}

// minGranularity is the least number of bytes that a bit stands for.
const minGranularity = 512

func addBitmap(ctx context.Context, n *chain.Node, name string, granularity int64) error {
	if name == "" {
		return qerr.New(syscall.EINVAL, "Bitmap name cannot be empty")
	}
	if granularity != 0 {
		// QEMU keeps 32 bits of it.
		if granularity = int64(uint32(granularity)); granularity < minGranularity || granularity&(granularity-1) != 0 {
			return qerr.New(syscall.EINVAL, "Granularity must be power of 2 and at least 512")
		}
	}
	s, ok := formats.As[formats.BitmapStore](n.Unwrap())
	if !ok {
		return errNoStore(n)
	}
	switch _, err := bitmapStore(ctx, n, name); {
	case err == nil:
		return qerr.New(syscall.EEXIST, "Bitmap already exists: %s", name)
	case !errors.Is(err, syscall.ENOENT):
		return err
	}
	return n.Exclusive(func() error { return s.AddBitmap(ctx, name, granularity, true) })
}

// errNoStore is for a node whose format has no place for new bitmaps.
func errNoStore(n *chain.Node) error {
	return qerr.Errno(syscall.ENOTSUP, "Can't store persistent bitmaps to %s", shownNode(n))
}

// shownNode names a node in messages. QEMU gives a node without a name one of its own, which ends in random digits.
func shownNode(n *chain.Node) string {
	if name := n.NodeName(); name != "" {
		return name
	}
	return "#block100"
}
