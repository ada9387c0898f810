package vdi

import (
	"context"
	"encoding/binary"
	"syscall"

	"platter/formats"
	"platter/formats/internal/blockmap"
	"platter/formats/option"
	"platter/formats/qerr"
)

// Driver is the VDI format.
func Driver() *formats.Driver {
	return &formats.Driver{
		Name: "vdi", Kind: formats.Format, Backing: true,
		CreateOpts: option.Schema{
			{Name: "size", Type: option.Size, Help: "Virtual disk size"},
			{Name: "static", Type: option.Bool, Help: "VDI static (pre-allocated) image", Default: "off"},
		},
		Probe: func(head []byte, _ string) int {
			if len(head) >= 68 && binary.LittleEndian.Uint32(head[64:]) == signature {
				return 100
			}
			return 0
		},
		Open:   open,
		Create: create,
	}
}

func open(ctx context.Context, a formats.OpenArgs) (formats.Image, error) {
	raw := make([]byte, headerSize)
	if err := a.File.ReadAt(ctx, raw, 0); err != nil {
		return nil, err
	}
	h := parse(raw)
	if err := h.validate(); err != nil {
		return nil, err
	}
	d := &image{name: a.Name, env: a.Env, file: a.File, head: h, static: h.imageType == typeStatic, allocated: h.allocated,
		pending: map[uint32]bool{}, placing: map[uint32]bool{}}
	d.free.L = &d.mu
	d.table = blockmap.New(a.File, int64(h.offsetMap), h.blocks, binary.LittleEndian)
	if a.Flags.Has(formats.ReadWrite) {
		if err := d.mend(ctx); err != nil {
			return nil, err
		}
	}
	if h.differencing() {
		return openDifferencing(ctx, d, a)
	}
	return d, nil
}

// mend sets the counter right after a crash: what the map names must not be handed out again, and what it does not
// name at the end may be.
func (d *image) mend(ctx context.Context) error {
	var used, count uint32
	held, err := d.table.EachHeld(ctx, func(_, e uint32) {
		if e < d.head.blocks { // what is more is damage
			count++
			used = max(used, e+1)
		}
	})
	if err != nil {
		return err
	}
	if held < d.head.blocks { // the rest is zero
		count, used = count+d.head.blocks-held, max(used, 1)
	}
	if used < d.head.blocks && count == used && d.allocated != used && !d.static {
		d.allocated, d.headDirty = used, true
	}
	d.allocated = max(d.allocated, used)
	return nil
}

// create lays out header and map, and all blocks of a static image.
func create(ctx context.Context, a formats.CreateArgs) error {
	size := (uint64(a.Size) + sectorSize - 1) / sectorSize * sectorSize
	if size > maxSize {
		return qerr.New(syscall.ENOTSUP, "Unsupported VDI image size (size is 0x%x, max supported is 0x%x)", size, uint64(maxSize))
	}
	h := newHeader(int64(size), a.Options.Bool("static", false))
	if err := a.File.WriteAt(ctx, h.raw[:], 0, 0); err != nil {
		return qerr.New(qerr.Of(err), "Error writing header")
	}
	if err := writeMap(ctx, a.File, h); err != nil {
		return qerr.New(qerr.Of(err), "Error writing bmap")
	}
	if h.imageType == typeStatic {
		end := int64(h.offsetData) + int64(h.blocks)*blockSize
		if err := a.File.Truncate(ctx, end, formats.PreallocOff); err != nil {
			return qerr.Prepend(err, "Failed to statically allocate file")
		}
	}
	return nil
}

// writeMap writes the new map in pieces: it is 2 GiB for the largest disk.
func writeMap(ctx context.Context, f formats.File, h *header) error {
	buf := make([]byte, 0, 1<<20)
	off := int64(h.offsetMap)
	for b := uint32(0); b < h.blocks; b++ {
		e := uint32(unallocated)
		if h.imageType == typeStatic {
			e = b
		}
		buf = binary.LittleEndian.AppendUint32(buf, e)
		if len(buf) == cap(buf) || b == h.blocks-1 {
			if rest := len(buf) % sectorSize; rest != 0 {
				buf = append(buf, make([]byte, sectorSize-rest)...)
			}
			if err := f.WriteAt(ctx, buf, off, 0); err != nil {
				return err
			}
			off, buf = off+int64(len(buf)), buf[:0]
		}
	}
	return nil
}
