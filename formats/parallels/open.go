package parallels

import (
	"context"
	"encoding/binary"
	"syscall"

	"platter/formats"
	"platter/formats/internal/blockmap"
	"platter/formats/option"
	"platter/formats/qerr"
)

// Driver is the Parallels format.
func Driver() *formats.Driver {
	return &formats.Driver{
		Name: "parallels", Kind: formats.Format, Backing: true,
		OpenOpts: openOpts,
		CreateOpts: option.Schema{
			{Name: "size", Type: option.Size, Help: "Virtual disk size"},
			{Name: "cluster_size", Type: option.Size, Help: "Parallels image cluster size", Default: "1048576"},
		},
		Probe: func(head []byte, _ string) int {
			if known(head) || isDescriptor(head) {
				return 100
			}
			return 0
		},
		Bundle: descriptorName,
		Needs:  needs,
		Open:   open,
		Create: create,
	}
}

func open(ctx context.Context, a formats.OpenArgs) (formats.Image, error) {
	reserve, err := reserveOf(a.Options)
	if err != nil {
		return nil, err
	}
	switch d, err := readDescriptor(ctx, a.File); {
	case err != nil:
		return nil, err
	case d != nil:
		return openBundle(a, d)
	}
	raw := make([]byte, headerSize)
	if err := a.File.ReadAt(ctx, raw, 0); err != nil {
		return nil, err
	}
	h, err := parse(raw)
	if err != nil {
		return nil, err
	}
	d := &image{file: a.File, head: h, writable: a.Flags.Has(formats.ReadWrite), cluster: int64(h.tracks) * sectorSize,
		unit: sectorSize, unclean: h.inUse, reserve: reserve, pending: map[uint32]bool{}}
	if !h.old {
		d.unit = d.cluster
	}
	d.settled.L = &d.mu
	d.table = blockmap.New(a.File, headerSize, h.entries, binary.LittleEndian)
	start, ok := h.dataStart(d.fileLen() / sectorSize)
	d.start = int64(start) * sectorSize
	d.end = d.start
	switch {
	case !d.writable && h.extOff != 0:
		err = d.readExtension(ctx)
	case h.extOff != 0:
		d.extension.Store(true)
		a.Env.Warn("Format Extension ignored in RW mode")
	}
	if err == nil && (d.writable || a.Flags.Has(formats.ForCheck)) {
		err = d.findEnd(ctx)
	}
	if err == nil && d.writable {
		err = d.begin(ctx, a, ok)
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

// findEnd finds the end of the last cluster that the BAT names.
func (d *image) findEnd(ctx context.Context) error {
	return d.eachHeld(ctx, func(_, e uint32) {
		if e != 0 {
			d.end = max(d.end, int64(e)*d.unit+d.cluster)
		}
	})
}

// begin marks the image as being in use and makes it fit to be written. startOK says that the header's start of the
// data area is right.
func (d *image) begin(ctx context.Context, a formats.OpenArgs, startOK bool) error {
	if err := d.mark(ctx, inUse); err != nil {
		return err
	}
	sound := startOK && !d.unclean && d.end <= d.fileLen()
	if sound {
		var err error
		if sound, err = d.findUsed(ctx); err != nil {
			return err
		}
	}
	if sound || a.Flags.Has(formats.ForCheck) {
		return nil
	}
	if _, err := d.Check(ctx, formats.FixLeaks|formats.FixErrors, a.Env); err != nil {
		return qerr.Errno(qerr.Of(err), "Could not repair corrupted image")
	}
	return nil
}

// mark writes the header's mark of being in use, or 0, for good.
func (d *image) mark(ctx context.Context, m uint32) error {
	if err := d.putWord(ctx, atInUse, m); err != nil {
		return err
	}
	return d.file.Flush(ctx)
}

// putWord writes a field of the header.
func (d *image) putWord(ctx context.Context, at int64, v uint32) error {
	return d.file.WriteAt(ctx, binary.LittleEndian.AppendUint32(nil, v), at, 0)
}

// create lays out header and BAT. The sums are made in QEMU's widths.
func create(ctx context.Context, a formats.CreateArgs) error {
	cluster := (a.Options.Uint("cluster_size", 1<<20) + sectorSize - 1) / sectorSize * sectorSize
	size := (uint64(a.Size) + sectorSize - 1) / sectorSize * sectorSize
	switch {
	case cluster >= 1<<31-1:
		return qerr.New(syscall.EINVAL, "Cluster size is too large")
	case size >= cluster<<32:
		return qerr.New(syscall.E2BIG, "Image size is too large for this cluster size")
	}
	entries := uint32((size + cluster - 1) / cluster)
	start := (uint64(headerSize+4*entries) + cluster - 1) / cluster * cluster
	h := make([]byte, sectorSize)
	copy(h, magicExt)
	le := binary.LittleEndian
	for _, f := range []struct{ at, v uint32 }{{16, version}, {20, 16}, {24, uint32(size / sectorSize / 16 / 32)},
		{atTracks, uint32(cluster / sectorSize)}, {32, entries}, {atDataOff, uint32(start / sectorSize)}} {
		le.PutUint32(h[f.at:], f.v)
	}
	le.PutUint64(h[36:], size/sectorSize)
	err := a.File.WriteAt(ctx, h, 0, 0)
	if err == nil {
		err = a.File.WriteZeroes(ctx, sectorSize, int64(start)-sectorSize, 0)
	}
	if err != nil {
		return qerr.Errno(qerr.Of(err), "Failed to create Parallels image")
	}
	return nil
}
