package vpc

import (
	"context"
	"encoding/binary"
	"math"
	"syscall"

	"platter/formats"
	"platter/formats/internal/blockmap"
	"platter/formats/option"
	"platter/formats/qerr"
)

// Driver is the VHD format.
func Driver() *formats.Driver {
	return &formats.Driver{
		Name: "vpc", Kind: formats.Format, Backing: true,
		OpenOpts: option.Schema{{Name: "force_size_calc", Type: option.String,
			Help: "Force disk size calculation to use either CHS geometry, or use the disk current_size specified in the VHD footer. {chs, current_size}"}},
		CreateOpts: createOpts,
		BeyondOpts: beyondOpts,
		Probe: func(head []byte, _ string) int {
			if len(head) >= 8 && string(head[:8]) == cookie {
				return 100
			}
			return 0
		},
		Open:        open,
		CreateNeeds: createNeeds,
		Create:      create,
	}
}

func open(ctx context.Context, a formats.OpenArgs) (formats.Image, error) {
	mode := a.Options.String("force_size_calc", "")
	if mode != "" && mode != "chs" && mode != "current_size" {
		return nil, qerr.New(syscall.EINVAL, "Invalid size calculation mode: '%s'", mode)
	}
	d := &image{name: a.Name, file: a.File, env: a.Env, pending: map[uint32]bool{}}
	d.freed.L = &d.mu
	fixed, err := d.readFooter(ctx)
	if err != nil {
		return nil, err
	}
	if err := d.foot.check(); err != nil {
		if !a.Env.Beyond || a.Flags.Has(formats.ReadWrite) {
			return nil, err
		}
		a.Env.Warn("'%s': %s: the image can only be read", a.Name, qerr.Text(err))
	}
	sectors, err := d.foot.sectors(mode)
	if err != nil {
		return nil, qerr.Errno(qerr.Of(err), "Could not open '%s'", a.Name)
	}
	d.size = sectors * sectorSize
	if fixed {
		d.kind = typeFixed
		return d, nil
	}
	d.kind = typeDynamic
	if d.foot.kind() == typeDifferencing {
		d.kind = typeDifferencing
	}
	return d, d.openDynamic(ctx)
}

// readFooter finds the footer: its copy at the beginning, or, for fixed images, at the end of the file.
func (d *image) readFooter(ctx context.Context) (fixed bool, err error) {
	if err := d.file.ReadAt(ctx, d.foot[:], 0); err != nil {
		return false, qerr.New(qerr.Of(err), "Unable to read VHD header")
	}
	if d.foot.valid() {
		return false, nil
	}
	size := d.file.Size()
	if size < footerSize {
		return false, qerr.New(syscall.EINVAL, "File too small for a VHD header")
	}
	if err := d.file.ReadAt(ctx, d.foot[:], size-footerSize); err != nil {
		return false, qerr.New(qerr.Of(err), "Error reading footer")
	}
	if !d.foot.valid() || d.foot.kind() != typeFixed {
		return false, qerr.New(syscall.EINVAL, "invalid VPC image")
	}
	return true, nil
}

// openDynamic reads the dynamic header and finds the end of the blocks.
func (d *image) openDynamic(ctx context.Context) error {
	at := d.foot.dataOffset()
	if at < 0 || at > d.file.Size() {
		return qerr.New(syscall.EINVAL, "Invalid header magic")
	}
	if err := d.file.ReadAt(ctx, d.head[:], at); err != nil {
		return qerr.New(qerr.Of(err), "Error reading dynamic VHD header")
	}
	be := binary.BigEndian
	if string(d.head[:8]) != "cxsparse" {
		return qerr.New(syscall.EINVAL, "Invalid header magic")
	}
	block, entries := be.Uint32(d.head[atBlockSize:]), be.Uint32(d.head[atEntries:])
	switch {
	case block < sectorSize || block&(block-1) != 0:
		return qerr.New(syscall.EINVAL, "Invalid block size %d", block)
	case uint64(d.size)/uint64(block) > math.MaxUint32:
		return qerr.New(syscall.EINVAL, "Too many blocks")
	case uint64(entries)*uint64(block) < uint64(d.size):
		return qerr.New(syscall.EINVAL, "Page table too small")
	case entries > math.MaxInt32/4:
		return qerr.New(syscall.EINVAL, "Max Table Entries too large (%d)", int32(entries))
	}
	d.block = int64(block)
	d.bitmap = (d.block/(8*sectorSize) + sectorSize - 1) &^ (sectorSize - 1)
	d.present = bitmaps{file: d.file, size: d.bitmap, all: map[int64]*bits{}}
	table := be.Uint64(d.head[atTable:])
	if table > math.MaxInt64-1<<32 {
		return qerr.New(syscall.EINVAL, "Error reading pagetable")
	}
	return d.openTable(ctx, int64(table), entries)
}

// openTable finds where the next block goes: behind the table and behind all blocks. A table or block that is cut off is
// an error, found before the table is read.
func (d *image) openTable(ctx context.Context, at int64, entries uint32) error {
	cut := qerr.New(syscall.EINVAL, "block-vpc: free_data_block_offset points after the end of file. The image has been truncated.")
	d.end = (at + int64(entries)*4 + sectorSize - 1) &^ (sectorSize - 1)
	if d.end > d.file.Size() {
		return cut
	}
	d.tableEnd = d.end
	d.table = blockmap.New(d.file, at, entries, binary.BigEndian)
	err := d.table.Each(ctx, func(_, e uint32) {
		if e != unallocated {
			d.end = max(d.end, int64(e)*sectorSize+d.bitmap+d.block)
		}
	})
	if err != nil {
		return qerr.New(qerr.Of(err), "Error reading pagetable")
	}
	if d.end > d.file.Size() {
		return cut
	}
	d.end = max(d.end, d.locatorsEnd())
	d.virgin = d.file.Size()
	if !d.file.Limits().ZeroInit {
		d.virgin = math.MaxInt64
	}
	return nil
}
