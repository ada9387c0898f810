package vmdk

import (
	"context"
	"encoding/binary"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

const (
	magicSparse = "KDMV"
	magicCOWD   = "COWD"

	flagNewLines     = 1 << 0
	flagRedundant    = 1 << 1
	flagZeroedGrains = 1 << 2
	flagCompressed   = 1 << 16
	flagMarkers      = 1 << 17

	deflated = 1 // compressAlgorithm

	// atEnd as the directory's offset says that the header is to be replaced by the footer.
	atEnd = 1<<64 - 1

	markerEnd    = 0
	markerFooter = 3

	maxGrain           = 0x200000 // sectors
	maxCompressedGrain = 32 << 20 // bytes; stock writes 64 KiB, as all others do
	maxDirectory       = 32 << 20 // entries
)

// sparseHeader is the header of a KDMV file (Virtual Disk Format 5.0, "Hosted Sparse Extent Header"), in sectors where
// nothing else is said.
type sparseHeader struct {
	version, flags          uint32
	capacity, grain         uint64
	descriptor, descriptorN uint64
	tableEntries            uint32
	redundant, directory    uint64
	data                    uint64
	compression             uint16
}

// parseSparse takes a header apart; p begins behind the magic.
func parseSparse(p []byte) sparseHeader {
	le := binary.LittleEndian
	return sparseHeader{
		version: le.Uint32(p), flags: le.Uint32(p[4:]), capacity: le.Uint64(p[8:]), grain: le.Uint64(p[16:]),
		descriptor: le.Uint64(p[24:]), descriptorN: le.Uint64(p[32:]), tableEntries: le.Uint32(p[40:]),
		redundant: le.Uint64(p[44:]), directory: le.Uint64(p[52:]), data: le.Uint64(p[60:]),
		compression: le.Uint16(p[73:]),
	}
}

// sectorOf lays a header out.
func (h *sparseHeader) sectorOf() []byte {
	p, le := make([]byte, sector), binary.LittleEndian
	copy(p, magicSparse)
	q := p[4:]
	le.PutUint32(q, h.version)
	le.PutUint32(q[4:], h.flags)
	le.PutUint64(q[8:], h.capacity)
	le.PutUint64(q[16:], h.grain)
	le.PutUint64(q[24:], h.descriptor)
	le.PutUint64(q[32:], h.descriptorN)
	le.PutUint32(q[40:], h.tableEntries)
	le.PutUint64(q[44:], h.redundant)
	le.PutUint64(q[52:], h.directory)
	le.PutUint64(q[60:], h.data)
	copy(q[69:], "\n \r\n")
	le.PutUint16(q[73:], h.compression)
	return p
}

// readSparse reads the header of a KDMV file; ofName is the file's name for messages.
func readSparse(ctx context.Context, f formats.File, ofName string) (sparseHeader, error) {
	p := make([]byte, sector)
	if err := f.ReadAt(ctx, p, 0); err != nil {
		return sparseHeader{}, qerr.Errno(qerr.Of(err), "Could not read header from file '%s'", ofName)
	}
	return parseSparse(p[4:]), nil
}

// readFooter reads the last three sectors: a marker, the header's replacement, the end-of-stream marker.
func readFooter(ctx context.Context, f formats.File) (sparseHeader, error) {
	p := make([]byte, 3*sector)
	off, err := f.Size()-int64(len(p)), error(syscall.EIO)
	if off >= 0 {
		err = f.ReadAt(ctx, p, off)
	}
	if err != nil {
		return sparseHeader{}, qerr.Errno(qerr.Of(err), "Failed to read footer")
	}
	le, mark, end := binary.LittleEndian, p, p[2*sector:]
	if string(p[sector:sector+4]) != magicSparse || le.Uint32(mark[8:]) != 0 || le.Uint32(mark[12:]) != markerFooter ||
		le.Uint64(end) != 0 || le.Uint32(end[8:]) != 0 || le.Uint32(end[12:]) != markerEnd {
		return sparseHeader{}, qerr.New(syscall.EINVAL, "Invalid footer")
	}
	return parseSparse(p[sector+4:]), nil
}

// validate makes QEMU's checks in QEMU's order.
func (h *sparseHeader) validate(f formats.File, writable bool) error {
	perTable := h.tableEntries * uint32(h.grain)
	switch {
	case h.version > 3:
		return qerr.New(syscall.ENOTSUP, "Unsupported VMDK version %d", h.version)
	case h.version == 3 && writable && h.compression != deflated:
		return qerr.New(syscall.EINVAL, "VMDK version 3 must be read only")
	case h.tableEntries > 512:
		return qerr.New(syscall.EINVAL, "L2 table size too big")
	case perTable == 0:
		return qerr.New(syscall.EINVAL, "L1 entry size is invalid")
	case uint64(f.Size()/sector) < h.data:
		return qerr.New(syscall.EINVAL, "File truncated, expecting at least %d bytes", int64(h.data*sector))
	case h.grain > maxGrain, h.compression == deflated && h.grain > maxCompressedGrain/sector:
		return qerr.New(syscall.EFBIG, "Invalid granularity, image may be corrupt")
	case h.capacity > maxSectors || (h.capacity+uint64(perTable)-1)/uint64(perTable) > maxDirectory:
		return qerr.New(syscall.EFBIG, "L1 size too big")
	}
	return nil
}

// openSparse adds the extent of a KDMV file.
func (d *image) openSparse(ctx context.Context, f formats.File) error {
	h, err := readSparse(ctx, f, nameOf(f))
	if err != nil {
		return err
	}
	if h.capacity == 0 && h.descriptor != 0 {
		return qerr.New(syscall.EINVAL, "The extent '%s' holds a descriptor and no data", nameOf(f))
	}
	footer := h.directory == atEnd
	if footer {
		if h, err = readFooter(ctx, f); err != nil {
			return err
		}
	}
	if err := h.validate(f, d.writable); err != nil {
		return err
	}
	e := &extent{
		file: f, events: formats.EventsOf(f), sectors: int64(h.capacity), grain: int64(h.grain) * sector, tableLen: int64(h.tableEntries), width: 4,
		compressed: h.compression == deflated, markers: h.flags&flagMarkers != 0, footer: footer,
		zeroed: h.flags&flagZeroedGrains != 0,
	}
	perTable := int64(h.tableEntries) * int64(h.grain)
	e.directoryLen = (e.sectors + perTable - 1) / perTable
	redundant := uint64(0)
	if h.flags&flagRedundant != 0 {
		redundant = h.redundant
	}
	if e.directory, err = e.directoryAt(h.directory, "l1"); err == nil && redundant != 0 {
		e.redundant, err = e.directoryAt(redundant, "l1 backup")
	}
	if err != nil {
		return err
	}
	if d.createType == "" || e.compressed {
		d.createType = "monolithicSparse"
		if e.compressed {
			d.createType = "streamOptimized"
		}
	}
	return d.add(e)
}

// openCOWD adds the extent of a COWD file.
func (d *image) openCOWD(ctx context.Context, f formats.File) error {
	p := make([]byte, sector)
	if err := f.ReadAt(ctx, p, 0); err != nil {
		return qerr.Errno(qerr.Of(err), "Could not read header from file '%s'", nameOf(f))
	}
	le := binary.LittleEndian
	e := &extent{file: f, events: formats.EventsOf(f), sectors: int64(le.Uint32(p[12:])), grain: int64(le.Uint32(p[16:])) * sector,
		directoryLen: int64(le.Uint32(p[24:])), tableLen: 4096, width: 4}
	switch {
	case e.grain == 0 || e.grain > maxGrain*sector:
		return qerr.New(syscall.EFBIG, "Invalid granularity, image may be corrupt")
	case e.directoryLen > maxDirectory:
		return qerr.New(syscall.EFBIG, "L1 size too big")
	}
	var err error
	if e.directory, err = e.directoryAt(uint64(le.Uint32(p[20:])), "l1"); err != nil {
		return err
	}
	return d.add(e)
}
