package vmdk

import (
	"context"
	"encoding/binary"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

// extent is one of the parts that follow one another in a disk.
type extent struct {
	file    formats.File
	events  formats.Events
	index   int
	kind    string // the descriptor's word, "" for the only sparse file
	start   int64  // in the disk, in bytes
	sectors int64
	flat    bool
	offset  int64 // flat: of the data in the file, in bytes

	grain        int64 // bytes; 0 for flat extents
	width        int   // of a table entry, in bytes
	tableLen     int64 // entries
	directory    int64 // offset in the file, in bytes
	redundant    int64 // the same of the copy, 0 for none
	directoryLen int64 // entries
	compressed   bool
	markers      bool // compressed grains begin with a marker
	footer       bool
	zeroed       bool  // table entries of 1 are grains of zeroes
	seTables     int64 // seSparse: first sector of the tables
	seGrains     int64 // seSparse: first sector of the grains

	next int64 // sector for the next new grain
}

func (e *extent) size() int64 { return e.sectors * sector }

func (e *extent) end() int64 { return e.start + e.size() }

// limit is how many bytes of the grain that begins at off in the extent exist.
func (e *extent) limit(off int64) int64 { return min(e.grain, e.size()-off) }

// directoryAt checks the place of a grain directory.
func (e *extent) directoryAt(at uint64, what string) (int64, error) {
	if end := e.directoryLen * int64(e.width); at > maxSectors-maxDirectory || int64(at)*sector+end > e.file.Size() && end > 0 {
		return 0, qerr.New(syscall.EINVAL, "Could not read %s table from extent '%s': it lies past the end of the file",
			what, nameOf(e.file))
	}
	return int64(at) * sector, nil
}

type grainKind uint8

const (
	missing grainKind = iota // the parent's, or zeroes
	zeroes
	stored
)

// grain is what a table entry says.
type grain struct {
	kind   grainKind
	sector int64 // in the extent's file
}

// decode takes a table entry apart.
func (e *extent) decode(p []byte) (grain, bool) {
	if e.width == 8 {
		return e.seGrainAt(binary.LittleEndian.Uint64(p))
	}
	switch v := binary.LittleEndian.Uint32(p); {
	case v == 0:
		return grain{kind: missing}, true
	case v == 1 && e.zeroed:
		return grain{kind: zeroes}, true
	default:
		return grain{kind: stored, sector: int64(v)}, true
	}
}

// tableOf finds the grain table with that number: its offset in the file in bytes, 0 for none. The image's mu is held.
func (d *image) tableOf(ctx context.Context, e *extent, directory, number int64) (int64, error) {
	if number >= e.directoryLen {
		return 0, qerr.New(syscall.EIO, "'%s' has no grain table %d", nameOf(e.file), number)
	}
	page, err := d.tables.page(ctx, e, directory, number)
	if err != nil {
		return 0, err
	}
	at, ok := int64(0), true
	raw := page.raw[number%pageEntries*int64(e.width):]
	if e.width == 8 {
		at, ok = e.seTableAt(binary.LittleEndian.Uint64(raw))
	} else {
		at = int64(binary.LittleEndian.Uint32(raw))
	}
	if !ok || at*sector > e.file.Size() {
		return 0, qerr.New(syscall.EIO, "Grain table %d of '%s' lies past the end of the file", number, nameOf(e.file))
	}
	return at * sector, nil
}

// grainTable loads the table that holds grain g; nil if there is none. The image's mu is held.
func (d *image) grainTable(ctx context.Context, e *extent, g int64) (*table, error) {
	at, err := d.tableOf(ctx, e, e.directory, g/e.tableLen)
	if err != nil || at == 0 {
		return nil, err
	}
	return d.tables.load(ctx, e, at, e.tableLen)
}

// lookup finds grain g of an extent. The image's mu is held.
func (d *image) lookup(ctx context.Context, e *extent, g int64) (grain, error) {
	t, err := d.grainTable(ctx, e, g)
	if err != nil || t == nil {
		return grain{}, err
	}
	v, ok := e.decode(t.entry(e, g%e.tableLen))
	if !ok {
		return grain{}, qerr.New(syscall.EIO, "Grain %d of '%s' has an invalid table entry", g, nameOf(e.file))
	}
	return v, nil
}

// run finds the longest run from off in e, at most n bytes, of grains that are all missing, all zeroes, or stored one
// behind another; compressed grains come one by one. The image's mu is held.
func (d *image) run(ctx context.Context, e *extent, off, n int64) (first grain, length int64, err error) {
	g, inside := off/e.grain, off%e.grain
	if first, err = d.lookup(ctx, e, g); err != nil {
		return first, 0, err
	}
	length = e.grain - inside
	for length < n && !(first.kind == stored && e.compressed) {
		g++
		next, err := d.lookup(ctx, e, g)
		if err != nil || next.kind != first.kind {
			break // an error comes again when its place is reached
		}
		if first.kind == stored && next.sector*sector != first.sector*sector+inside+length {
			break
		}
		length += e.grain
	}
	return first, min(length, n), nil
}
