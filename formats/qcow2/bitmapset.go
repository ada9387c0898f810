package qcow2

import (
	"context"
	"math/bits"
	"slices"
	"syscall"

	"platter/formats"
	"platter/formats/bitmap"
	"platter/formats/qerr"
)

var errReadOnlyBitmaps = qerr.New(syscall.EPERM, "the image is not open for writing")

// usableBitmap finds a bitmap with its bits.
func (i *image) usableBitmap(ctx context.Context, name string) (*storedBitmap, error) {
	b := i.bitmaps.find(name)
	if b == nil {
		return nil, qerr.New(syscall.ENOENT, "Dirty bitmap '%s' not found", name)
	}
	if b.broken {
		return nil, errInconsistent(b)
	}
	if b.bits == nil {
		return b, i.loadBits(ctx, b)
	}
	return b, nil
}

func errInconsistent(b *storedBitmap) error {
	err := qerr.New(syscall.EINVAL, "Bitmap '%s' is inconsistent and cannot be used", b.name)
	return qerr.WithHint(err, "Try block-dirty-bitmap-remove to delete this bitmap from disk\n")
}

// bitmapToChange is usableBitmap for changes.
func (i *image) bitmapToChange(ctx context.Context, name string) (*storedBitmap, error) {
	b, err := i.usableBitmap(ctx, name)
	if err == nil && !i.writable() {
		err = errReadOnlyBitmaps
	}
	return b, err
}

// Bitmaps lists the bitmaps in the order of the directory.
func (i *image) Bitmaps(ctx context.Context) ([]formats.BitmapInfo, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	var list []formats.BitmapInfo
	for _, b := range i.bitmaps.list {
		info := formats.BitmapInfo{Name: b.name, Granularity: 1 << b.shift, InUse: b.flags&bitmapInUse != 0,
			Auto: b.flags&bitmapAuto != 0, Enabled: b.enabled, Inconsistent: b.broken}
		if !b.broken && b.bits == nil {
			if err := i.loadBits(ctx, b); err != nil {
				return nil, err
			}
		}
		if b.bits != nil {
			info.Count = b.bits.Count()
		}
		list = append(list, info)
	}
	return list, nil
}

// Bitmap copies the bits of a bitmap.
func (i *image) Bitmap(ctx context.Context, name string) (*bitmap.Bitmap, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	b, err := i.usableBitmap(ctx, name)
	if err != nil {
		return nil, err
	}
	return b.bits.Clone(), nil
}

// AddBitmap makes a clear bitmap. It is stored when the image is closed.
func (i *image) AddBitmap(_ context.Context, name string, granularity int64, enabled bool) error {
	if i.bitmaps.find(name) != nil {
		return qerr.New(syscall.EEXIST, "Bitmap already exists: %s", name)
	}
	if !i.writable() {
		return errReadOnlyBitmaps
	}
	if granularity == 0 {
		granularity = min(max(i.clusterSize, 4096), 65536)
	}
	if err := i.mayStore(name, granularity); err != nil {
		return qerr.Prepend(err, "Can't make bitmap '%s' persistent in '#block100': ", name)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	b := &storedBitmap{name: name, shift: uint(bits.TrailingZeros64(uint64(granularity))), enabled: enabled,
		bits: bitmap.New(i.Size(), granularity)}
	i.bitmaps.list = append(i.bitmaps.list, b)
	i.bitmaps.update()
	return nil
}

// mayStore reports what stands against a new bitmap.
func (i *image) mayStore(name string, granularity int64) error {
	shift := uint(bits.TrailingZeros64(uint64(granularity)))
	fail := func(format string, a ...any) error { return qerr.New(syscall.EINVAL, format, a...) }
	if i.hdr.version < 3 {
		return fail("Cannot store dirty bitmaps in qcow2 v2 files")
	}
	if granularity <= 0 || granularity&(granularity-1) != 0 {
		return fail("Granularity must be power of 2")
	}
	size, total := int64(0), int64(0)
	for _, b := range i.bitmaps.list {
		size += int64(bitmapEntryLen+len(b.name)+7) &^ 7
		total += i.bitmapBytes(b.shift)
	}
	need := i.bitmapBytes(shift)
	switch {
	case shift > maxBitmapShift:
		return fail("Granularity exceeds maximum (%d bytes)", 1<<maxBitmapShift)
	case shift < minBitmapShift:
		return fail("Granularity is under minimum (%d bytes)", 1<<minBitmapShift)
	case need > maxBitmapBytes || need > maxBitmapTable*i.clusterSize || total+need > maxBitmapsBytes:
		return fail("Too much space will be occupied by the bitmap. Use larger granularity")
	case len(name) > maxBitmapName:
		return fail("Name length exceeds maximum (%d characters)", maxBitmapName)
	case len(i.bitmaps.list) >= maxBitmaps:
		return fail("Maximum number of persistent bitmaps is already reached")
	case size+int64(bitmapEntryLen+len(name)+7)&^7 > maxBitmapDirectory:
		return fail("Not enough space in the bitmap directory")
	}
	return nil
}

// RemoveBitmap removes a bitmap, an inconsistent one too; one that is in the file is removed there at once.
func (i *image) RemoveBitmap(ctx context.Context, name string) error {
	b := i.bitmaps.find(name)
	switch {
	case b == nil:
		return qerr.New(syscall.ENOENT, "Dirty bitmap '%s' not found", name)
	case !i.writable():
		return errReadOnlyBitmaps
	}
	ctx = context.WithoutCancel(ctx)
	if b.table != 0 {
		var list, unstored []*storedBitmap
		for _, o := range i.bitmaps.list {
			switch {
			case o == b:
			case o.table != 0:
				list = append(list, o)
			default:
				unstored = append(unstored, o)
			}
		}
		if err := i.replaceDirectory(ctx, list, func() error { return i.commitAll(ctx) }); err != nil {
			return qerr.Errno(qerr.Of(err), "Failed to update bitmap extension")
		}
		i.freeBitmap(ctx, b)
		i.setBitmaps(append(list, unstored...))
		return nil
	}
	i.setBitmaps(slices.DeleteFunc(slices.Clone(i.bitmaps.list), func(o *storedBitmap) bool { return o == b }))
	return nil
}

func (i *image) setBitmaps(list []*storedBitmap) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.bitmaps.list = list
	i.bitmaps.update()
}

// RenameBitmap gives a bitmap another name, in the file when the image is closed.
func (i *image) RenameBitmap(ctx context.Context, from, to string) error {
	b, err := i.bitmapToChange(ctx, from)
	switch {
	case err != nil:
		return err
	case to == "":
		return qerr.New(syscall.EINVAL, "Bitmap name cannot be empty")
	case len(to) > maxBitmapName:
		return qerr.New(syscall.EINVAL, "Name length exceeds maximum (%d characters)", maxBitmapName)
	case i.bitmaps.find(to) != nil:
		return qerr.New(syscall.EEXIST, "Bitmap already exists: %s", to)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	b.name = to
	return nil
}

// ClearBitmap unsets all bits.
func (i *image) ClearBitmap(ctx context.Context, name string) error {
	b, err := i.bitmapToChange(ctx, name)
	if err == nil {
		b.bits.Clear(0, i.Size())
	}
	return err
}

// EnableBitmap starts or stops recording.
func (i *image) EnableBitmap(ctx context.Context, name string, on bool) error {
	b, err := i.bitmapToChange(ctx, name)
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	b.enabled = on
	i.bitmaps.update()
	return nil
}

// MergeBitmap sets in a bitmap what is set in src, which covers a disk of the same size.
func (i *image) MergeBitmap(ctx context.Context, name string, src *bitmap.Bitmap) error {
	b, err := i.bitmapToChange(ctx, name)
	if err != nil {
		return err
	}
	if b.bits.Size() != src.Size() {
		return qerr.New(syscall.EINVAL, "Bitmaps are of different sizes (destination size is %d, source size is %d) and can't "+
			"be merged", b.bits.Size(), src.Size())
	}
	b.bits.Merge(src)
	return nil
}

// bitmapsMayResize reports a bitmap that cannot follow a new size.
func (i *image) bitmapsMayResize() error {
	for _, b := range i.bitmaps.list {
		if b.broken {
			err := errInconsistent(b)
			return qerr.WithHint(qerr.New(syscall.ENOTSUP, "%s", err), qerr.Hint(err))
		}
	}
	return nil
}

var _ formats.BitmapStore = (*image)(nil)
