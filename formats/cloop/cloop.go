package cloop

import (
	"context"
	"encoding/binary"
	"strings"
	"sync"
	"syscall"

	"platter/formats"
	"platter/formats/codec"
	"platter/formats/internal/chunkcache"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

const (
	magic = "#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n"

	sizesAt    = 128
	offsetsAt  = 136
	sectorSize = 512
	maxBlock   = 64 << 20
	maxOffsets = 512 << 20
	cacheBytes = 32 << 20
)

// Driver is the cloop format.
func Driver() *formats.Driver {
	return &formats.Driver{Name: "cloop", Kind: formats.Format, Probe: probe, Open: open}
}

func probe(head []byte, _ string) int {
	if n := min(len(head), len(magic)); n > 0 && strings.HasPrefix(magic, string(head[:n])) {
		return 2
	}
	return 0
}

// image is an open cloop file. Offsets are read as they are needed: there may be 512 MiB of them.
type image struct {
	file   formats.File
	block  int64
	blocks int64
	cache  *chunkcache.Cache
	index  *chunkcache.Cache
}

var inflaters = sync.Pool{New: func() any { return &codec.Inflater{} }}

// indexPage is the number of offsets that are read together.
const indexPage = 4096

func open(ctx context.Context, a formats.OpenArgs) (formats.Image, error) {
	if a.Flags.Has(formats.ReadWrite) {
		return nil, qerr.New(syscall.EACCES, "Image is read-only")
	}
	var h [8]byte
	if err := a.File.ReadAt(ctx, h[:], sizesAt); err != nil {
		return nil, err
	}
	block, blocks := binary.BigEndian.Uint32(h[:]), binary.BigEndian.Uint32(h[4:])
	switch {
	case block%sectorSize != 0:
		return nil, qerr.New(syscall.EINVAL, "block_size %d must be a multiple of 512", block)
	case block == 0:
		return nil, qerr.New(syscall.EINVAL, "block_size cannot be zero")
	case block > maxBlock:
		return nil, qerr.New(syscall.EINVAL, "block_size %d must be %d MB or less", block, maxBlock>>20)
	case uint64(blocks) > (1<<32-2)/8:
		return nil, qerr.New(syscall.EINVAL, "n_blocks %d must be %d or less", blocks, (1<<32-2)/8)
	case (int64(blocks)+1)*8 > maxOffsets:
		return nil, qerr.New(syscall.EINVAL, "image requires too many offsets, try increasing block size")
	}
	d := &image{file: a.File, block: int64(block), blocks: int64(blocks),
		cache: chunkcache.New(cacheBytes), index: chunkcache.New(1 << 20)}
	return d, d.checkOffsets(ctx)
}

// checkOffsets holds all offsets against one another, as QEMU does when it opens an image.
func (d *image) checkOffsets(ctx context.Context) error {
	last := uint64(0)
	buf := make([]byte, 64<<10)
	for i := int64(0); i <= d.blocks; {
		n := min(int64(len(buf))/8, d.blocks+1-i)
		if err := d.file.ReadAt(ctx, buf[:n*8], offsetsAt+i*8); err != nil {
			return err
		}
		for k := range n {
			off := binary.BigEndian.Uint64(buf[k*8:])
			if i+k > 0 && off < last {
				return qerr.New(syscall.EINVAL, "offsets not monotonically increasing at index %d, image file is corrupt", i+k)
			}
			if i+k > 0 && off-last > 2*maxBlock {
				return qerr.New(syscall.EINVAL, "invalid compressed block size at index %d, image file is corrupt", i+k)
			}
			last = off
		}
		i += n
	}
	return nil
}

func (d *image) Size() int64 { return d.block * d.blocks }

// Limits: QEMU's driver works in sectors.
func (d *image) Limits() formats.Limits { return formats.Limits{Align: sectorSize} }

// offset gives the offset of block i; i may be the number of blocks.
func (d *image) offset(ctx context.Context, i int64) (int64, error) {
	page := i / indexPage
	raw, err := d.index.Get(page, func() ([]byte, error) {
		p := make([]byte, min(indexPage, d.blocks+1-page*indexPage)*8)
		return p, d.file.ReadAt(ctx, p, offsetsAt+page*indexPage*8)
	})
	if err != nil {
		return 0, err
	}
	return int64(binary.BigEndian.Uint64(raw[i%indexPage*8:]) & (1<<63 - 1)), nil
}

// decode reads and decompresses block i.
func (d *image) decode(ctx context.Context, i int64) ([]byte, error) {
	from, err := d.offset(ctx, i)
	if err != nil {
		return nil, err
	}
	to, err := d.offset(ctx, i+1)
	if err != nil {
		return nil, err
	}
	if from > to || to-from > 2*maxBlock || from > d.file.Size() {
		return nil, qerr.New(syscall.EIO, "cloop: block %d at %d+%d is outside the file", i, from, to-from)
	}
	src, dst := make([]byte, to-from), make([]byte, d.block)
	if len(src) > 0 {
		if err := d.file.ReadAt(ctx, src, from); err != nil {
			return nil, err
		}
	}
	z := inflaters.Get().(*codec.Inflater)
	defer inflaters.Put(z)
	if n, _, err := z.Zlib(dst, src); err != nil || int64(n) != d.block {
		return nil, qerr.New(syscall.EIO, "cloop: block %d at %d gives %d bytes of %d", i, from, n, d.block)
	}
	return dst, nil
}

func (d *image) ReadAt(ctx context.Context, p []byte, off int64) error {
	for len(p) > 0 {
		i := off / d.block
		data, err := d.cache.Get(i, func() ([]byte, error) { return d.decode(ctx, i) })
		if err != nil {
			return err
		}
		n := copy(p, data[off%d.block:])
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// Status calls everything data: nothing is known without decompressing.
func (d *image) Status(_ context.Context, _, n int64) (formats.Extent, error) {
	return formats.Extent{Len: n, State: formats.Data}, nil
}

func (d *image) Flush(context.Context) error { return nil }

func (d *image) Close() error { return nil }

// Info says that QEMU tells nothing of these images.
func (d *image) Info(context.Context) (formats.Info, error) {
	return formats.Info{}, qerr.New(syscall.ENOTSUP, "cloop has no block information")
}

// Specific is nothing.
func (d *image) Specific(context.Context) (string, *qobj.Dict, error) { return "", nil, nil }
