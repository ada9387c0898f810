package vmdk

import (
	"context"
	"encoding/binary"
	"syscall"

	"platter/formats"
	"platter/formats/codec"
	"platter/formats/qerr"
)

const (
	seMagic         = 0xcafebabe
	seVolatileMagic = 0xcafecafe
	seVersion       = 0x0000000200000001
	seGrain         = 8  // sectors
	seTable         = 64 // sectors
)

// openSE adds the extent of a seSparse file, which is read only.
func (d *image) openSE(ctx context.Context, f formats.File) error {
	if d.writable {
		return qerr.New(syscall.EACCES, "No write support for seSparse images available")
	}
	p := make([]byte, sector)
	if err := f.ReadAt(ctx, p, 0); err != nil {
		return qerr.Errno(qerr.Of(err), "Could not read const header from file '%s'", nameOf(f))
	}
	if err := checkSEConst(p); err != nil {
		return err
	}
	field := func(i int) uint64 { return binary.LittleEndian.Uint64(p[i*8:]) }
	if err := readSEVolatile(ctx, f, field(10)); err != nil {
		return err
	}
	capacity, directory, size, tables, grains := field(2), field(16), field(17), field(18), field(24)
	if capacity > maxSectors || size > maxDirectory*8/sector || tables > maxSectors || grains > maxSectors {
		return qerr.New(syscall.EFBIG, "L1 size too big")
	}
	e := &extent{file: f, events: formats.EventsOf(f), sectors: int64(capacity), grain: seGrain * sector, directoryLen: int64(size) * sector / 8,
		tableLen: seTable * sector / 8, width: 8, seTables: int64(tables), seGrains: int64(grains)}
	var err error
	if e.directory, err = e.directoryAt(directory, "l1"); err != nil {
		return err
	}
	return d.add(e)
}

// checkSEConst checks the header that never changes.
func checkSEConst(p []byte) error {
	field := func(i int) uint64 { return binary.LittleEndian.Uint64(p[i*8:]) }
	switch {
	case field(0) != seMagic:
		return qerr.New(syscall.EINVAL, "Bad const header magic: 0x%016x", field(0))
	case field(1) != seVersion:
		return qerr.New(syscall.ENOTSUP, "Unsupported version: 0x%016x", field(1))
	case field(3) != seGrain:
		return qerr.New(syscall.ENOTSUP, "Unsupported grain size: %d", field(3))
	case field(4) != seTable:
		return qerr.New(syscall.ENOTSUP, "Unsupported grain table size: %d", field(4))
	case field(5) != 0:
		return qerr.New(syscall.ENOTSUP, "Unsupported flags: 0x%016x", field(5))
	case !codec.IsZero(p[48:80]):
		return qerr.New(syscall.ENOTSUP, "Unsupported reserved bits: 0x%016x 0x%016x 0x%016x 0x%016x",
			field(6), field(7), field(8), field(9))
	case !codec.IsZero(p[208:sector]):
		return qerr.New(syscall.ENOTSUP, "Unsupported non-zero const header padding")
	}
	return nil
}

// readSEVolatile checks the header that says whether the journal must be replayed.
func readSEVolatile(ctx context.Context, f formats.File, at uint64) error {
	p, err := make([]byte, sector), error(syscall.EIO)
	if at < maxSectors {
		err = f.ReadAt(ctx, p, int64(at)*sector)
	}
	if err != nil {
		return qerr.Errno(qerr.Of(err), "Could not read volatile header from file '%s'", nameOf(f))
	}
	le := binary.LittleEndian
	switch {
	case le.Uint64(p) != seVolatileMagic:
		return qerr.New(syscall.EINVAL, "Bad volatile header magic: 0x%016x", le.Uint64(p))
	case le.Uint64(p[24:]) != 0:
		return qerr.New(syscall.ENOTSUP, "Image is dirty, Replaying journal not supported")
	case !codec.IsZero(p[32:]):
		return qerr.New(syscall.ENOTSUP, "Unsupported non-zero volatile header padding")
	}
	return nil
}

// seTableAt decodes a directory entry: the sector of a grain table, 0 for none.
func (e *extent) seTableAt(v uint64) (int64, bool) {
	if v == 0 {
		return 0, true
	}
	at := e.seTables + int64(uint32(v))*seTable
	return at, v>>32 == 0x10000000 && at < 1<<32
}

// seGrainAt decodes a table entry. The grain's number stands in it with its low 12 bits on top.
func (e *extent) seGrainAt(v uint64) (grain, bool) {
	switch v >> 60 {
	case 0:
		return grain{kind: missing}, v == 0
	case 1, 2: // unmapped by the guest; zeroes
		return grain{kind: zeroes}, true
	case 3:
		number := v>>48&0xfff | v&(1<<48-1)<<12
		at := uint64(e.seGrains) + number*seGrain
		return grain{kind: stored, sector: int64(at)}, at < maxSectors
	}
	return grain{}, false
}
