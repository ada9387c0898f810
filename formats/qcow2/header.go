package qcow2

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/bits"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

const magic = 0x514649fb // "QFI\xfb"

// Limits of the format as QEMU sets them; what is beyond them is damage.
const (
	minClusterBits = 9
	maxClusterBits = 21
	maxL1Size      = 32 << 20 // bytes
	maxRefTable    = 8 << 20  // bytes
	maxSnapshots   = 65536
	maxBackingName = 1023
)

// Incompatible feature bits.
const (
	incompatDirty uint64 = 1 << iota
	incompatCorrupt
	incompatDataFile
	incompatCompression
	incompatExtL2

	incompatKnown = incompatDirty | incompatCorrupt | incompatDataFile | incompatCompression | incompatExtL2
)

// Compatible and autoclear feature bits.
const (
	compatLazy uint64 = 1 << 0

	autoclearBitmaps uint64 = 1 << 0
	autoclearRaw     uint64 = 1 << 1
	autoclearKnown          = autoclearBitmaps | autoclearRaw
)

// Encryption methods of the header.
const (
	cryptNone = iota
	cryptAES
	cryptLUKS
)

// Compression types of the header.
const (
	compressionZlib = iota
	compressionZstd
)

// Lengths of the header, and where single fields lie that are written alone.
const (
	headerV2Len     = 72
	headerV3Len     = 104
	headerLen       = 112 // with the compression type
	atBackingOffset = 8
	atSize          = 24
	atL1Size        = 36
	atL1Offset      = 40
	atRefTable      = 48
	atSnapshots     = 60
	atIncompat      = 72
)

// header is the fixed part of the image header together with all that follows it in the first cluster. Field names
// are the specification's.
type header struct {
	version         uint32
	backingOffset   uint64
	backingSize     uint32
	clusterBits     uint32
	size            uint64
	cryptMethod     uint32
	l1Size          uint32
	l1Offset        uint64
	refTableOffset  uint64
	refTableCluster uint32
	snapshots       uint32
	snapshotsOffset uint64
	incompat        uint64
	compat          uint64
	autoclear       uint64
	refOrder        uint32
	length          uint32
	compression     uint8
	unknownFields   []byte // behind the known ones

	ext         extensions
	backingName string
}

// readHeader reads and checks the fixed part (the order of checks is QEMU's, so that the first complaint is too).
func readHeader(ctx context.Context, file formats.File) (*header, error) {
	raw := make([]byte, headerLen)
	if err := file.ReadAt(ctx, raw, 0); err != nil {
		return nil, qerr.Errno(qerr.Of(err), "Could not read qcow2 header")
	}
	be := binary.BigEndian
	if be.Uint32(raw) != magic {
		return nil, qerr.New(syscall.EINVAL, "Image is not in qcow2 format")
	}
	h := &header{version: be.Uint32(raw[4:]), backingOffset: be.Uint64(raw[8:]), backingSize: be.Uint32(raw[16:]),
		clusterBits: be.Uint32(raw[20:]), size: be.Uint64(raw[24:]), cryptMethod: be.Uint32(raw[32:]),
		l1Size: be.Uint32(raw[36:]), l1Offset: be.Uint64(raw[40:]), refTableOffset: be.Uint64(raw[48:]),
		refTableCluster: be.Uint32(raw[56:]), snapshots: be.Uint32(raw[60:]), snapshotsOffset: be.Uint64(raw[64:])}
	if h.version < 2 || h.version > 3 {
		return nil, qerr.New(syscall.ENOTSUP, "Unsupported qcow2 version %d", h.version)
	}
	if h.clusterBits < minClusterBits || h.clusterBits > maxClusterBits {
		return nil, qerr.New(syscall.EINVAL, "Unsupported cluster size: 2^%d", h.clusterBits)
	}
	if err := h.readV3(ctx, file, raw); err != nil {
		return nil, err
	}
	if h.backingOffset > 1<<h.clusterBits {
		return nil, qerr.New(syscall.EINVAL, "Invalid backing file offset")
	}
	if err := h.checkCompression(); err != nil {
		return nil, err
	}
	return h, nil
}

func (h *header) readV3(ctx context.Context, file formats.File, raw []byte) error {
	be := binary.BigEndian
	if h.version == 2 {
		h.refOrder, h.length = 4, headerV2Len
	} else {
		h.incompat, h.compat, h.autoclear = be.Uint64(raw[72:]), be.Uint64(raw[80:]), be.Uint64(raw[88:])
		h.refOrder, h.length = be.Uint32(raw[96:]), be.Uint32(raw[100:])
		if h.length < headerV3Len {
			return qerr.New(syscall.EINVAL, "qcow2 header too short")
		}
	}
	if h.length > 1<<h.clusterBits {
		return qerr.New(syscall.EINVAL, "qcow2 header exceeds cluster size")
	}
	if h.length > headerLen {
		h.unknownFields = make([]byte, h.length-headerLen)
		if err := file.ReadAt(ctx, h.unknownFields, headerLen); err != nil {
			return qerr.Errno(qerr.Of(err), "Could not read unknown qcow2 header fields")
		}
	}
	if h.length > headerV3Len {
		h.compression = raw[104]
	}
	return nil
}

func (h *header) checkCompression() error {
	switch {
	case h.compression > compressionZstd:
		return qerr.New(syscall.ENOTSUP, "qcow2: unknown compression type: %d", h.compression)
	case h.compression == compressionZlib && h.incompat&incompatCompression != 0:
		return qerr.New(syscall.EINVAL, "qcow2: Compression type incompatible feature bit must not be set")
	case h.compression != compressionZlib && h.incompat&incompatCompression == 0:
		return qerr.New(syscall.EINVAL, "qcow2: Compression type incompatible feature bit must be set")
	}
	return nil
}

// extensionsEnd is where header extensions end at the latest.
func (h *header) extensionsEnd() uint64 {
	if h.backingOffset != 0 {
		return h.backingOffset
	}
	return 1 << h.clusterBits
}

// readBackingName reads the backing file's name.
func (h *header) readBackingName(ctx context.Context, file formats.File) error {
	if h.backingOffset == 0 {
		return nil
	}
	if uint64(h.backingSize) > min(maxBackingName, 1<<h.clusterBits-h.backingOffset) {
		return qerr.New(syscall.EINVAL, "Backing file name too long")
	}
	if h.backingSize == 0 {
		return nil
	}
	name := make([]byte, h.backingSize)
	if err := file.ReadAt(ctx, name, int64(h.backingOffset)); err != nil {
		return qerr.Errno(qerr.Of(err), "Could not read backing file name")
	}
	h.backingName = cString(name)
	return nil
}

// cString is the text before the first NUL.
func cString(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// encode writes the whole first cluster as QEMU lays it out: fixed part, extensions, backing file name. ENOSPC if it
// does not fit. It sets the fields that depend on the layout.
func (h *header) encode() ([]byte, error) {
	buf := make([]byte, 1<<h.clusterBits)
	h.length = headerV2Len
	if h.version >= 3 {
		h.length = headerLen + uint32(len(h.unknownFields))
	}
	at := int(h.length)
	if at > len(buf) {
		return nil, syscall.ENOSPC
	}
	at, err := h.ext.encode(buf, at, h.version >= 3)
	if err != nil {
		return nil, err
	}
	h.backingOffset, h.backingSize = 0, 0
	if h.backingName != "" {
		if len(buf)-at < len(h.backingName) {
			return nil, syscall.ENOSPC
		}
		copy(buf[at:], h.backingName)
		h.backingOffset, h.backingSize = uint64(at), uint32(len(h.backingName))
	}
	h.putFixed(buf)
	return buf, nil
}

func (h *header) putFixed(buf []byte) {
	be := binary.BigEndian
	be.PutUint32(buf, magic)
	be.PutUint32(buf[4:], h.version)
	be.PutUint64(buf[8:], h.backingOffset)
	be.PutUint32(buf[16:], h.backingSize)
	be.PutUint32(buf[20:], h.clusterBits)
	be.PutUint64(buf[24:], h.size)
	be.PutUint32(buf[32:], h.cryptMethod)
	be.PutUint32(buf[36:], h.l1Size)
	be.PutUint64(buf[40:], h.l1Offset)
	be.PutUint64(buf[48:], h.refTableOffset)
	be.PutUint32(buf[56:], h.refTableCluster)
	be.PutUint32(buf[60:], h.snapshots)
	be.PutUint64(buf[64:], h.snapshotsOffset)
	if h.version < 3 {
		return
	}
	be.PutUint64(buf[72:], h.incompat)
	be.PutUint64(buf[80:], h.compat)
	be.PutUint64(buf[88:], h.autoclear)
	be.PutUint32(buf[96:], h.refOrder)
	be.PutUint32(buf[100:], h.length)
	buf[104] = h.compression
	copy(buf[headerLen:], h.unknownFields)
}

// checkTable refuses a table whose offset, entry count or size cannot be right.
func (h *header) checkTable(off uint64, entries uint64, entrySize uint64, limit uint64, name string) error {
	if entries > limit/entrySize {
		return qerr.New(syscall.EFBIG, "%s too large", name)
	}
	size := entries * entrySize
	if end, carry := bits.Add64(off, size, 0); carry != 0 || end > 1<<63-1 || off&(1<<h.clusterBits-1) != 0 {
		return qerr.New(syscall.EINVAL, "%s offset invalid", name)
	}
	return nil
}

// sectorLen is what a disk writes as a whole or not at all.
const sectorLen = 512

// betweenName is how far before the end of the header cluster the backing file's name is while the header changes.
const betweenName = 1024

// writeHeader writes the first cluster, durably. A crash may leave some sectors of it as they were; if more than one
// changes, the first one is therefore written twice: first with all that matters in it and the name of the backing file
// at the end of the cluster, so that the other sectors may be in any state.
func (i *image) writeHeader(ctx context.Context, raw []byte) error {
	if i.creating {
		return i.file.WriteAt(ctx, raw, 0, 0)
	}
	old := make([]byte, len(raw))
	if err := i.file.ReadAt(ctx, old, 0); err != nil {
		return err
	}
	steps := [][]patch{{{data: raw}}}
	if between := i.headerBetween(old, raw); between != nil {
		end := len(raw) - betweenName
		steps = [][]patch{{{off: int64(end), data: append([]byte(i.hdr.backingName), 0)}}, {{data: between}},
			{{off: sectorLen, data: raw[sectorLen:end]}}, {{data: raw[:sectorLen]}}, {{off: int64(end), data: raw[end:]}}}
	}
	for _, step := range steps {
		if err := i.writePatches(ctx, step); err != nil {
			return err
		}
		if err := i.file.Flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

// headerBetween is the first sector for the time between; nil if one write does, or if a sector cannot hold all.
func (i *image) headerBetween(old, raw []byte) []byte {
	changed := 0
	for at := 0; at < len(raw); at += sectorLen {
		if !bytes.Equal(old[at:at+sectorLen], raw[at:at+sectorLen]) {
			changed++
		}
	}
	end := len(raw) - betweenName
	if changed < 2 || end < 2*betweenName {
		return nil
	}
	for at := end; at < len(raw); at++ {
		if old[at]|raw[at] != 0 {
			return nil
		}
	}
	sector := make([]byte, sectorLen)
	h := *i.hdr
	// Version 2 in this place only leaves the table of feature names out.
	if _, err := h.ext.encode(sector, int(h.length), false); err != nil {
		return nil
	}
	if h.backingName != "" {
		h.backingOffset = uint64(end)
	}
	h.putFixed(sector)
	return sector
}
