package tools

import (
	"context"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

// checkBitmaps looks whether the source's bitmaps can be copied.
func (c *conversion) checkBitmaps(ctx context.Context) error {
	store, ok := formats.As[formats.BitmapReader](c.parts[0].image.Unwrap())
	if !ok {
		return qerr.New(syscall.ENOTSUP, "Source lacks bitmap support")
	}
	list, err := store.Bitmaps(ctx)
	if err != nil {
		return err
	}
	for _, b := range list {
		if b.Inconsistent && !b.Transient && !c.SkipBroken {
			err := qerr.New(syscall.EINVAL, "Cannot copy inconsistent bitmap '%s'", b.Name)
			return qerr.WithHint(err, "Try --skip-broken-bitmaps, or use 'qemu-img bitmap --remove' to delete it\n")
		}
	}
	return nil
}

// copyBitmaps makes the source's bitmaps in the target, with what is set in them.
func (c *conversion) copyBitmaps(ctx context.Context) error {
	src, _ := formats.As[formats.BitmapReader](c.parts[0].image.Unwrap())
	dst, stores := formats.As[formats.BitmapStore](c.target.Unwrap())
	list, err := src.Bitmaps(ctx)
	if err != nil {
		return err
	}
	for _, b := range list {
		switch {
		case b.Transient:
			continue
		case b.Inconsistent && c.SkipBroken:
			c.env.Warn("Skipping inconsistent bitmap '%s'", b.Name)
			continue
		case !stores:
			return qerr.Prepend(errNoStore(c.target), "Failed to create bitmap %s: ", b.Name)
		}
		bits, err := src.Bitmap(ctx, b.Name)
		if err != nil {
			return qerr.Prepend(err, "Failed to populate bitmap %s: ", b.Name)
		}
		err = c.target.Exclusive(func() error {
			if err := dst.AddBitmap(ctx, b.Name, b.Granularity, b.Enabled); err != nil {
				return qerr.Prepend(err, "Failed to create bitmap %s: ", b.Name)
			}
			err := dst.MergeBitmap(ctx, b.Name, bits)
			if err != nil {
				dst.RemoveBitmap(ctx, b.Name)
			}
			return qerr.Prepend(err, "Failed to populate bitmap %s: ", b.Name)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
