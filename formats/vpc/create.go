package vpc

import (
	"bytes"
	"context"
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

func create(ctx context.Context, a formats.CreateArgs) error {
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
	return createDynamic(ctx, a.File, foot, sectors*sectorSize)
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

func createDynamic(ctx context.Context, f formats.File, foot *footer, size int64) error {
	entries := (size + defaultBlock - 1) / defaultBlock
	table := (entries*4 + sectorSize - 1) / sectorSize * sectorSize
	at := int64(footerSize + headSize)
	for _, w := range []struct {
		p   []byte
		off int64
	}{
		{foot[:], 0},
		{foot[:], at + table},
		{dynamicHeader(uint32(entries)), footerSize},
		{bytes.Repeat([]byte{0xff}, int(table)), at},
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
