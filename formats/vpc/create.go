package vpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"syscall"

	"platter/formats"
	"platter/formats/option"
	"platter/formats/qerr"
)

// defaultBlock is the block size of new images in bytes.
const defaultBlock = 2 << 20

var createOpts = option.Schema{
	{Name: "size", Type: option.Size, Help: "Virtual disk size"},
	{Name: "subformat", Type: option.String,
		Help: "Type of virtual hard disk format. Supported formats are {dynamic (default) | fixed} "},
	{Name: "force_size", Type: option.Bool,
		Help: "Force disk size calculation to use the actual size specified, rather than using the nearest CHS-based calculation"},
}

// beyondOpts make a differencing image.
var beyondOpts = option.Schema{
	{Name: "backing_file", Type: option.String, Help: "File name of the parent, which makes a differencing image"},
	{Name: "backing_fmt", Type: option.String, Help: "Must be 'vpc' if present"},
}

func create(ctx context.Context, a formats.CreateArgs) error {
	if a.Options.Has("backing_file") {
		return createChild(ctx, a)
	}
	kind := uint32(typeDynamic)
	switch s := a.Options.String("subformat", "dynamic"); s {
	case "dynamic":
	case "fixed":
		kind = typeFixed
	default:
		return qerr.New(syscall.EINVAL, "Parameter 'subformat' does not accept value '%s'", s)
	}
	forced := a.Options.Bool("force_size", false)
	g, sectors, err := layout(a.Size, forced)
	if err != nil {
		return qerr.New(qerr.Of(err), "The image size is too large for file format 'vpc'")
	}
	foot := newFooter(kind, sectors, g, forced)
	if kind == typeFixed {
		return createFixed(ctx, a.File, foot, sectors*sectorSize)
	}
	l := &dynamic{foot: foot, size: sectors * sectorSize, block: defaultBlock}
	return l.write(ctx, a.File)
}

func createFixed(ctx context.Context, f formats.File, foot *footer, size int64) error {
	if err := f.Truncate(ctx, size+footerSize, formats.PreallocOff); err != nil {
		return err
	}
	if err := f.WriteAt(ctx, foot[:], size, 0); err != nil {
		return qerr.Errno(qerr.Of(err), "Unable to write VHD header")
	}
	return nil
}

// dynamic is a new image with a block table.
type dynamic struct {
	foot   *footer
	size   int64 // of the disk in bytes
	block  int64
	parent *parentage // nil for none
}

// write lays the image out: footer's copy, dynamic header, table, the parent's paths, footer.
func (l *dynamic) write(ctx context.Context, f formats.File) error {
	entries := (l.size + l.block - 1) / l.block
	table := (entries*4 + sectorSize - 1) / sectorSize * sectorSize
	at := int64(footerSize + headSize)
	head := dynamicHeader(uint32(entries), uint32(l.block))
	paths := l.parent.describe(head, at+table)
	binary.BigEndian.PutUint32(head[atHeadSum:], checksum(head, atHeadSum))
	for _, w := range []struct {
		p   []byte
		off int64
	}{
		{l.foot[:], 0},
		{l.foot[:], at + table + int64(len(paths))},
		{head, footerSize},
		{bytes.Repeat([]byte{0xff}, int(table)), at},
		{paths, at + table},
	} {
		if len(w.p) == 0 {
			continue
		}
		if err := f.WriteAt(ctx, w.p, w.off, 0); err != nil {
			return qerr.Errno(qerr.Of(err), "Unable to write VHD header")
		}
	}
	return nil
}

// dynamicHeader makes the header of a new dynamic image, without its checksum.
func dynamicHeader(entries, block uint32) []byte {
	h := make([]byte, headSize)
	be := binary.BigEndian
	copy(h, "cxsparse")
	// The specification says 32 bits of ones; readers expect 64.
	be.PutUint64(h[8:], math.MaxUint64)
	be.PutUint64(h[atTable:], footerSize+headSize)
	be.PutUint32(h[atHeadVersion:], 0x00010000)
	be.PutUint32(h[atEntries:], entries)
	be.PutUint32(h[atBlockSize:], block)
	return h
}
