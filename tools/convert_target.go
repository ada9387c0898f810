package tools

import (
	"context"
	"math/bits"
	"strconv"
	"strings"
	"syscall"

	"platter/chain"
	"platter/formats"
	"platter/formats/option"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

const (
	copyBuffer    = 2 << 20  // bytes of a piece of data …
	maxCopyBuffer = 16 << 20 // … and the most where the target asks for more
)

// prepare checks what is to be made, in qemu-img's order, before anything is touched.
func (c *conversion) prepare(ctx context.Context) error {
	var v *option.Values
	if !c.NoCreate {
		var err error
		if v, err = c.creation(); err != nil {
			return err
		}
	}
	backing := v.String("backing_file", "")
	c.hasBacking = v.Has("backing_file") || c.Backing != nil
	switch {
	case c.TargetIsZero && c.hasBacking:
		return qerr.New(syscall.EINVAL, "Cannot use --target-is-zero when the destination image has a backing file")
	case len(c.parts) > 1 && c.hasBacking:
		return qerr.New(syscall.EINVAL,
			"Having a backing file for the target makes no sense when concatenating multiple input images")
	case backing != "" && !v.Has("backing_fmt"):
		return qerr.New(syscall.EINVAL, "Use of backing file requires explicit backing format")
	}
	if c.Compress {
		if err := c.canCompress(v); err != nil {
			return err
		}
	}
	if c.Bitmaps {
		if len(c.parts) > 1 {
			return qerr.New(syscall.EINVAL, "Copying bitmaps only possible with single source")
		}
		return c.checkBitmaps(ctx)
	}
	return nil
}

// creation reads the options of the new image.
func (c *conversion) creation() (*option.Values, error) {
	drv, schema, err := creatable(c.env, c.TargetFormat, c.Target)
	if err != nil {
		return nil, err
	}
	v, err := schema.Parse(c.Options)
	if err != nil {
		return nil, err
	}
	if err := v.Set(schema, "size", strconv.FormatInt(c.total, 10)); err != nil {
		return nil, err
	}
	if c.Backing != nil {
		if v.Set(schema, "backing_file", *c.Backing) != nil {
			return nil, qerr.New(syscall.EINVAL, "Backing file not supported for file format '%s'", c.TargetFormat)
		}
	}
	if c.BackingFormat != nil {
		if v.Set(schema, "backing_fmt", *c.BackingFormat) != nil {
			return nil, qerr.New(syscall.EINVAL, "Backing file format not supported for file format '%s'", c.TargetFormat)
		}
	}
	c.create = &chain.CreateRequest{Filename: c.Target, Driver: drv, Options: v, Size: c.total}
	return v, nil
}

// creatable finds the driver for new images of that format and the options that they take at that place.
func creatable(env *Env, format, filename string) (*formats.Driver, option.Schema, error) {
	drv := env.Registry.Find(format)
	if drv == nil {
		return nil, nil, qerr.New(syscall.EINVAL, "Unknown file format '%s'", format)
	}
	schema, err := chain.CreateSchema(env, drv, filename)
	return drv, schema, err
}

// canCompress checks the driver and the options for -c.
func (c *conversion) canCompress(v *option.Values) error {
	switch pre := v.String("preallocation", "off"); {
	case c.create != nil && !c.create.Driver.Compresses:
		return errNoCompression()
	case v.Bool("encryption", false) || v.Has("encrypt.format"):
		return qerr.New(syscall.EINVAL, "Compression and encryption not supported at the same time")
	case pre != "off":
		return qerr.New(syscall.EINVAL, "Compression and preallocation not supported at the same time")
	}
	return nil
}

func errNoCompression() error {
	return qerr.New(syscall.ENOTSUP, "Compression not supported for this file format")
}

// openTarget makes the target, if it is not there, and opens it.
func (c *conversion) openTarget(ctx context.Context) error {
	if c.create != nil {
		if err := chain.Create(ctx, c.env, *c.create); err != nil {
			return qerr.Prepend(err, "%s: error while converting %s: ", c.Target, c.TargetFormat)
		}
	}
	cache, ok := ParseCache(c.TargetCache)
	if !ok {
		return qerr.New(syscall.EINVAL, "Invalid cache option: %s", c.TargetCache)
	}
	flags := formats.ReadWrite
	if c.SparseSize != 0 {
		flags |= formats.Unmap
	}
	if cache.Direct {
		flags |= formats.Resize // the file may have to grow to whole sectors of the device
	}
	var err error
	if c.create != nil {
		c.target, err = chain.Open(ctx, c.env, chain.Request{
			Filename: c.Target, Format: c.TargetFormat, Flags: flags | cache.Flags(), Options: c.keys(),
		})
		err = qerr.Prepend(err, "Could not open '%s': ", c.Target)
	} else {
		s := Source{Filename: c.Target, ImageOpts: c.TargetImageOpts, Format: c.TargetFormat, Cache: cache}
		c.target, err = s.Open(ctx, c.env, flags)
	}
	if err != nil {
		return err
	}
	return c.measureTarget(ctx)
}

// keys are the creation options that name secrets: the new image is opened with them.
func (c *conversion) keys() *qobj.Dict {
	d := qobj.NewDict()
	for _, name := range c.create.Options.Names() {
		if strings.HasSuffix(name, "key-secret") {
			d.Set(name, c.create.Options.String(name, ""))
		}
	}
	return d
}

// measureTarget finds what the copy must know of the target.
func (c *conversion) measureTarget(ctx context.Context) error {
	t := c.target
	_, compresses := formats.As[formats.CompressedWriter](t.SkipFilters().Unwrap())
	_, bitmaps := formats.As[formats.BitmapReader](t.Unwrap())
	switch {
	case c.Bitmaps && !bitmaps:
		return qerr.New(syscall.ENOTSUP, "Format driver '%s' does not support bitmaps", t.Driver().Name)
	case c.Compress && !compresses:
		return errNoCompression()
	case c.create == nil && t.Size() < c.total:
		return qerr.New(syscall.EINVAL, "output file is smaller than input file")
	}
	l := t.Limits()
	c.buffer = copyBuffer
	if l.DiscardAlign > sectorSize {
		c.buffer = min(max(c.buffer, l.DiscardAlign), maxCopyBuffer)
	}
	c.align = max(floorPower(c.SparseSize), alignUp(l.Align, sectorSize), sectorSize)
	c.backing = -1
	if b := t.Backing(); b != nil && c.hasBacking && c.create != nil {
		c.backing = b.Size()
	}
	info, err := NodeInfo(ctx, t)
	if err != nil && c.Compress {
		return qerr.New(qerr.Of(err), "could not get block driver info")
	}
	c.Compress = c.Compress || info.OnlyCompressed
	c.cluster = info.ClusterSize
	c.zeroInit = c.TargetIsZero || c.create != nil && c.SparseSize != 0 && !c.hasBacking && l.ZeroInit
	c.startOffload()
	return nil
}

// floorPower is the largest power of two that is not above v, 0 for 0.
func floorPower(v int64) int64 {
	if v == 0 {
		return 0
	}
	return 1 << (bits.Len64(uint64(v)) - 1)
}
