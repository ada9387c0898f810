package vhdx

import (
	"context"
	"encoding/binary"
	"math"
	"math/bits"
	"syscall"
	"unicode/utf16"

	"platter/formats"
	"platter/formats/option"
	"platter/formats/qerr"
)

const (
	gib     = 1 << 30
	tib     = 1 << 40
	maxSize = 64 * tib

	creator = "QEMU v10.0.2"
	// dataGap is left free between the BAT and the first block; the metadata is in it.
	dataGap = 5 * mib
)

// layout is a new image.
type layout struct {
	metadata
	logSize  int64
	fixed    bool
	zero     bool // blocks get the state ZERO
	bat      int64
	batBytes int64
	meta     int64
	data     int64
	locator  []byte // of the parent, if there is one
}

// plan reads the options; sizes of log and blocks are rounded up to 1 MiB. p is the parent, nil for none.
func plan(v *option.Values, size int64, p *parentage) (*layout, error) {
	l := &layout{zero: v.Bool("block_state_zero", true)}
	l.size, l.logical, l.physical = uint64(size), 512, 512
	switch f := v.String("subformat", "dynamic"); f {
	case "dynamic":
	case "fixed":
		l.fixed, l.flags = true, flagFixed
	default:
		return nil, qerr.New(syscall.EINVAL, "Parameter 'subformat' does not accept value '%s'", f)
	}
	logSize, blockSize := roundMiB(v.Uint("log_size", mib)), roundMiB(v.Uint("block_size", 0))
	if p != nil {
		if err := l.inherit(p, v); err != nil {
			return nil, err
		}
		if blockSize == 0 {
			blockSize = uint64(p.blockSize)
		}
	}
	if blockSize == 0 {
		blockSize = defaultBlock(size)
	}
	blockSize = min(blockSize, maxBlock)
	refuse := func(format string, a ...any) error { return qerr.New(syscall.EINVAL, format, a...) }
	switch {
	case uint64(size) > maxSize:
		return nil, refuse("Image size too large; max of 64TB")
	case logSize > math.MaxUint32:
		return nil, refuse("Log size must be smaller than 4 GB")
	case logSize < mib:
		return nil, refuse("Log size must be a multiple of 1 MB")
	case bits.OnesCount64(blockSize) != 1:
		return nil, refuse("Block size must be a power of two")
	}
	l.logSize, l.blockSize = int64(logSize), int64(blockSize)
	l.ratio = chunkSectors * l.logical / l.blockSize
	l.bat = mib + l.logSize
	l.batBytes = int64(roundMiB(uint64(l.batEntries()) * 8))
	l.meta = l.bat + l.batBytes
	l.data = l.bat + l.batBytes + dataGap
	return l, nil
}

func roundMiB(n uint64) uint64 { return (n + mib - 1) &^ (mib - 1) }

func defaultBlock(size int64) uint64 {
	switch {
	case size > 32*tib:
		return 64 * mib
	case size > 100*gib:
		return 32 * mib
	case size > gib:
		return 16 * mib
	}
	return 8 * mib
}

// create lays out a new image as QEMU does, but for the random parts.
func create(ctx context.Context, a formats.CreateArgs) error {
	p, err := parentageOf(a)
	if err != nil {
		return err
	}
	l, err := plan(a.Options, a.Size, p)
	if err != nil {
		return err
	}
	id := append([]byte(signature), make([]byte, 2*len(creator))...)
	for i, u := range utf16.Encode([]rune(creator)) {
		binary.LittleEndian.PutUint16(id[len(signature)+i*2:], u)
	}
	if err := a.File.WriteAt(ctx, id, 0, 0); err != nil {
		return qerr.Errno(qerr.Of(err), "Failed to write file signature")
	}
	h := newHeader(uint32(l.logSize))
	for _, at := range headerAt {
		if err := a.File.WriteAt(ctx, h[:], at, 0); err != nil {
			return qerr.Errno(qerr.Of(err), "Failed to write image headers")
		}
		binary.LittleEndian.PutUint64(h[8:], h.sequence()+1)
		seal(h[:])
	}
	if err := l.writeBAT(ctx, a.File); err != nil {
		return err
	}
	table := l.regionTable()
	if err := a.File.WriteAt(ctx, table, regionTableAt, 0); err != nil {
		return qerr.Errno(qerr.Of(err), "Failed to write first region table")
	}
	if err := a.File.WriteAt(ctx, table, regionTableCopy, 0); err != nil {
		return qerr.Errno(qerr.Of(err), "Failed to write second region table")
	}
	for i, p := range [][]byte{l.items(), l.values()} {
		if err := a.File.WriteAt(ctx, p, l.meta+int64(i)*tableSize, 0); err != nil {
			return qerr.Errno(qerr.Of(err), "Failed to initialize metadata")
		}
	}
	return nil
}

func (l *layout) regionTable() []byte {
	raw := make([]byte, tableSize)
	le := binary.LittleEndian
	copy(raw, "regi")
	le.PutUint32(raw[8:], 2)
	// As stock has it, neither entry says that it is required.
	copy(raw[16:], guidBAT[:])
	le.PutUint64(raw[32:], uint64(l.bat))
	le.PutUint32(raw[40:], uint32(l.batBytes))
	copy(raw[48:], guidMetadata[:])
	le.PutUint64(raw[64:], uint64(l.meta))
	le.PutUint32(raw[72:], mib)
	seal(raw)
	return raw
}

// items makes the metadata table, and values what it refers to: parameters, size, identifier, sector sizes.
func (l *layout) items() []byte {
	raw := make([]byte, tableSize)
	le := binary.LittleEndian
	copy(raw, "metadata")
	off := uint32(tableSize)
	type entry struct {
		id    guid
		n     uint32
		flags uint32
	}
	entries := []entry{
		{guidParameters, 8, itemRequired},
		{guidSize, 8, itemRequired | itemVirtual},
		{guidDiskID, 16, itemRequired | itemVirtual},
		{guidLogical, 4, itemRequired | itemVirtual},
		{guidPhysical, 4, itemRequired | itemVirtual},
	}
	if l.parent != nil {
		entries = append(entries, entry{guidParent, uint32(len(l.locator)), itemRequired})
	}
	le.PutUint16(raw[10:], uint16(len(entries)))
	for i, e := range entries {
		p := raw[32+i*32:]
		copy(p, e.id[:])
		le.PutUint32(p[16:], off)
		le.PutUint32(p[20:], e.n)
		le.PutUint32(p[24:], e.flags)
		off += e.n
	}
	return raw
}

func (l *layout) values() []byte {
	raw := make([]byte, 40)
	le := binary.LittleEndian
	le.PutUint32(raw, uint32(l.blockSize))
	le.PutUint32(raw[4:], l.flags)
	le.PutUint64(raw[8:], l.size)
	copy(raw[16:], randomGUID())
	le.PutUint32(raw[32:], uint32(l.logical))
	le.PutUint32(raw[36:], uint32(l.physical))
	return append(raw, l.locator...)
}

// writeBAT sets the file's length and writes the BAT, in pieces: it is 512 MiB for the largest disk.
func (l *layout) writeBAT(ctx context.Context, f formats.File) error {
	end := l.data
	if l.fixed {
		end += int64(l.size)
	}
	if err := f.Truncate(ctx, end, formats.PreallocOff); err != nil {
		return err
	}
	if !l.fixed && !l.zero && f.Limits().ZeroInit {
		return nil
	}
	buf := make([]byte, mib)
	blocks := l.blocks()
	for at := int64(0); at < l.batBytes; at += mib {
		clear(buf)
		for i := range int64(mib / 8) {
			index := at/8 + i
			block := index - index/(l.ratio+1)
			if index%(l.ratio+1) != l.ratio && block < blocks {
				binary.LittleEndian.PutUint64(buf[i*8:], l.entry(block))
			}
		}
		if err := f.WriteAt(ctx, buf, l.bat+at, 0); err != nil {
			return qerr.Errno(qerr.Of(err), "Failed to write the BAT")
		}
	}
	return nil
}

// entry is the BAT entry of a block; block_state_zero counts for fixed images, too.
func (l *layout) entry(block int64) uint64 {
	switch {
	case l.zero:
		return stateZero
	case l.fixed:
		return uint64(l.data+block*l.blockSize) | statePresent
	}
	return stateNotPresent
}
