package bochs

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

const (
	headerSize  = 512
	sectorSize  = 512
	version1    = 0x00010000
	version2    = 0x00020000
	unallocated = 0xffffffff

	maxCatalog = 0x100000
	maxExtent  = 0x800000
)

// Driver is the bochs format.
func Driver() *formats.Driver {
	return &formats.Driver{Name: "bochs", Kind: formats.Format, Probe: probe, Open: open}
}

func field(p []byte) string { return string(p[:max(bytes.IndexByte(p, 0), 0)]) }

func isBochs(h []byte) bool {
	version := binary.LittleEndian.Uint32(h[64:])
	return field(h[:32]) == "Bochs Virtual HD Image" && field(h[32:48]) == "Redolog" && field(h[48:64]) == "Growing" &&
		(version == version1 || version == version2)
}

func probe(head []byte, _ string) int {
	if len(head) >= headerSize && isBochs(head) {
		return 100
	}
	return 0
}

// image is an open redolog.
type image struct {
	file       formats.File
	size       int64
	catalog    []uint32
	dataOffset int64 // of the first extent
	bitmap     int64 // bytes of an extent's bitmap, in whole sectors
	extent     int64 // bytes of an extent's data
	stride     int64 // bytes from one extent to the next
}

func open(ctx context.Context, a formats.OpenArgs) (formats.Image, error) {
	if a.Flags.Has(formats.ReadWrite) {
		return nil, qerr.New(syscall.EACCES, "Image is read-only")
	}
	h := make([]byte, headerSize)
	if err := a.File.ReadAt(ctx, h, 0); err != nil {
		return nil, err
	}
	if !isBochs(h) {
		return nil, qerr.New(syscall.EINVAL, "Image not in Bochs format")
	}
	le := binary.LittleEndian
	size := le.Uint64(h[88:])
	if le.Uint32(h[64:]) == version1 {
		size = le.Uint64(h[84:])
	}
	entries, bitmap, extent := le.Uint32(h[72:]), le.Uint32(h[76:]), le.Uint32(h[80:])
	d := &image{file: a.File, size: int64(min(size, math.MaxInt64) / sectorSize * sectorSize), extent: int64(extent)}
	if entries > maxCatalog {
		return nil, qerr.New(syscall.EFBIG, "Catalog size is too large")
	}
	if err := d.readCatalog(ctx, int64(le.Uint32(h[68:])), entries); err != nil {
		return nil, err
	}
	d.bitmap = (int64(bitmap) + sectorSize - 1) / sectorSize * sectorSize
	d.stride = d.bitmap + (int64(extent)+sectorSize-1)/sectorSize*sectorSize
	return d, d.validate(bitmap, extent, entries)
}

// readCatalog reads the extents' numbers. The catalog is at most 4 MiB.
func (d *image) readCatalog(ctx context.Context, off int64, entries uint32) error {
	raw := make([]byte, int64(entries)*4)
	if len(raw) > 0 {
		if err := d.file.ReadAt(ctx, raw, off); err != nil {
			return err
		}
	}
	d.catalog = make([]uint32, entries)
	for i := range d.catalog {
		d.catalog[i] = binary.LittleEndian.Uint32(raw[i*4:])
	}
	d.dataOffset = off + int64(len(raw))
	return nil
}

func (d *image) validate(bitmap, extent, entries uint32) error {
	switch {
	case extent < sectorSize:
		return qerr.New(syscall.EINVAL, "Extent size must be at least 512")
	case extent&(extent-1) != 0:
		return qerr.New(syscall.EINVAL, "Extent size %d is not a power of two", extent)
	case extent > maxExtent:
		return qerr.New(syscall.EINVAL, "Extent size %d is too large", extent)
	case int64(entries) < (d.size/sectorSize+int64(extent)/sectorSize-1)/(int64(extent)/sectorSize):
		return qerr.New(syscall.EINVAL, "Catalog size is too small for this disk size")
	case int64(bitmap)*8 < int64(extent)/sectorSize:
		return qerr.New(syscall.EINVAL, "Bitmap of %d bytes is too small for extents of %d bytes", bitmap, extent)
	}
	return nil
}

func (d *image) Size() int64 { return d.size }

// Limits: the bitmap knows sectors.
func (d *image) Limits() formats.Limits { return formats.Limits{Align: sectorSize} }

// run finds the run of sectors at off, at most n bytes, that are all stored one after the other, or all not.
func (d *image) run(ctx context.Context, off, n int64) (host, length int64, ok bool, err error) {
	inside := off % d.extent
	length = min(n, d.extent-inside)
	number := d.catalog[off/d.extent]
	if number == unallocated {
		return 0, length, false, nil
	}
	base := d.dataOffset + int64(number)*d.stride
	first, count := inside/sectorSize, length/sectorSize
	bits := make([]byte, (first%8+count+7)/8)
	if err := d.file.ReadAt(ctx, bits, base+first/8); err != nil {
		return 0, 0, false, err
	}
	bit := func(i int64) bool { return bits[(first%8+i)/8]>>((first+i)%8)&1 == 1 }
	ok = bit(0)
	k := int64(1)
	for k < count && bit(k) == ok {
		k++
	}
	return base + d.bitmap + inside, k * sectorSize, ok, nil
}

func (d *image) ReadAt(ctx context.Context, p []byte, off int64) error {
	for len(p) > 0 {
		host, n, ok, err := d.run(ctx, off, int64(len(p)))
		if err != nil {
			return err
		}
		if !ok {
			clear(p[:n])
		} else if err := d.file.ReadAt(ctx, p[:n], host); err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// Status calls everything data, as QEMU's driver does, which has no such function. The mount and convert find the
// zeroes by reading.
func (d *image) Status(_ context.Context, _, n int64) (formats.Extent, error) {
	return formats.Extent{Len: n, State: formats.Data}, nil
}

func (d *image) Flush(context.Context) error { return nil }

func (d *image) Close() error { return nil }

// Info says that QEMU tells nothing of these images.
func (d *image) Info(context.Context) (formats.Info, error) {
	return formats.Info{}, qerr.New(syscall.ENOTSUP, "bochs has no block information")
}

// Specific is nothing.
func (d *image) Specific(context.Context) (string, *qobj.Dict, error) { return "", nil, nil }
