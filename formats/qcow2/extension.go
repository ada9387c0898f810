package qcow2

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

// Header extension types.
const (
	extEnd           = 0
	extBackingFormat = 0xe2792aca
	extFeatures      = 0x6803f857
	extCrypto        = 0x0537be77
	extBitmaps       = 0x23852875
	extDataFile      = 0x44415441
)

const (
	maxBitmaps         = 65535
	maxBitmapDirectory = maxBitmaps * (24 + 1023)
)

// extensions is what the header extensions say.
type extensions struct {
	backingFormat string
	dataFile      string
	hasCrypto     bool
	cryptoOffset  uint64
	cryptoLength  uint64
	bitmaps       bitmapsExt
	unknown       []unknownExt // in the order in which they are written again
	features      []byte       // the feature name table, as read; for messages only

	// stale is set if bitmaps are there but a program without bitmap support has written to the image since.
	stale bool
}

// bitmapsExt is the bitmaps extension; count 0 means that there is none.
type bitmapsExt struct {
	count           uint32
	directorySize   uint64
	directoryOffset uint64
}

type unknownExt struct {
	magic uint32
	data  []byte
}

// readExtensions reads the extensions that follow the fixed header.
func (h *header) readExtensions(ctx context.Context, file formats.File, env *formats.Env) error {
	off, end := uint64(h.length), h.extensionsEnd()
	if end <= off {
		return nil
	}
	// One read for all of them: they lie in the first cluster. 8 bytes more, as an extension's head may be cut by the end.
	raw := make([]byte, end-off+8)
	if err := file.ReadAt(ctx, raw, int64(off)); err != nil {
		return qerr.Errno(qerr.Of(err), "qcow2_read_extension: ERROR: pread fail from offset %d", off)
	}
	raw = raw[:end-off+8]
	for at, total := uint64(0), end-off; at < total; {
		typ, n := binary.BigEndian.Uint32(raw[at:]), uint64(binary.BigEndian.Uint32(raw[at+4:]))
		at += 8
		if at > total || n > total-at {
			return qerr.New(syscall.EINVAL, "Header extension too large")
		}
		if typ == extEnd {
			return nil
		}
		if err := h.takeExtension(typ, raw[at:at+n], env); err != nil {
			return err
		}
		at += (n + 7) &^ 7
	}
	return nil
}

func (h *header) takeExtension(typ uint32, data []byte, env *formats.Env) error {
	switch typ {
	case extBackingFormat:
		if len(data) >= 16 {
			return qerr.New(syscall.EINVAL, "ERROR: ext_backing_format: len=%d too large (>=16)", len(data))
		}
		h.ext.backingFormat = cString(data)
	case extFeatures:
		h.ext.features = data
	case extCrypto:
		return h.takeCrypto(data)
	case extBitmaps:
		return h.takeBitmaps(data, env)
	case extDataFile:
		h.ext.dataFile = cString(data)
	default:
		// QEMU keeps them in a list that it fills from its head, and so writes them in the reverse order.
		u := unknownExt{typ, append([]byte(nil), data...)}
		h.ext.unknown = append([]unknownExt{u}, h.ext.unknown...)
	}
	return nil
}

func (h *header) takeCrypto(data []byte) error {
	if h.cryptMethod != cryptLUKS {
		return qerr.New(syscall.EINVAL, "CRYPTO header extension only expected with LUKS encryption method")
	}
	if len(data) != 16 {
		return qerr.New(syscall.EINVAL, "CRYPTO header extension size %d, but expected size 16", len(data))
	}
	h.ext.hasCrypto = true
	h.ext.cryptoOffset, h.ext.cryptoLength = binary.BigEndian.Uint64(data), binary.BigEndian.Uint64(data[8:])
	if h.ext.cryptoOffset&(1<<h.clusterBits-1) != 0 {
		return qerr.New(syscall.EINVAL, "Encryption header offset '%d' is not a multiple of cluster size '%d'",
			h.ext.cryptoOffset, 1<<h.clusterBits)
	}
	return nil
}

func (h *header) takeBitmaps(data []byte, env *formats.Env) error {
	if len(data) != 24 {
		return qerr.New(syscall.EINVAL, "bitmaps_ext: Invalid extension length")
	}
	if h.autoclear&autoclearBitmaps == 0 {
		if h.version < 3 {
			env.Warn("This qcow2 v2 image contains bitmaps, but they may have been modified by a program without " +
				"persistent bitmap support; so now they must all be considered inconsistent")
		} else {
			env.Warn("a program lacking bitmap support modified this file, so all bitmaps are now considered inconsistent")
		}
		env.Report("Some clusters may be leaked, run 'qemu-img check -r' on the image file to fix.")
		h.ext.stale = true
		return nil
	}
	be := binary.BigEndian
	b := bitmapsExt{be.Uint32(data), be.Uint64(data[8:]), be.Uint64(data[16:])}
	switch {
	case be.Uint32(data[4:]) != 0:
		return qerr.New(syscall.EINVAL, "bitmaps_ext: Reserved field is not zero")
	case b.count > maxBitmaps:
		return qerr.New(syscall.EINVAL, "bitmaps_ext: Image has %d bitmaps, exceeding the QEMU supported maximum of %d",
			b.count, maxBitmaps)
	case b.count == 0:
		return qerr.New(syscall.EINVAL, "found bitmaps extension with zero bitmaps")
	case b.directoryOffset&(1<<h.clusterBits-1) != 0:
		return qerr.New(syscall.EINVAL, "bitmaps_ext: invalid bitmap directory offset")
	case b.directorySize > maxBitmapDirectory:
		return qerr.New(syscall.EINVAL, "bitmaps_ext: bitmap directory size (%d) exceeds the maximum supported size (%d)",
			b.directorySize, maxBitmapDirectory)
	}
	h.ext.bitmaps = b
	return nil
}

// feature is a row of the feature name table.
type feature struct {
	typ, bit byte
	name     string
}

// features is the table that is written into every version 3 image.
var features = [...]feature{
	{0, 0, "dirty bit"}, {0, 1, "corrupt bit"}, {0, 2, "external data file"}, {0, 3, "compression type"},
	{0, 4, "extended L2 entries"}, {1, 0, "lazy refcounts"}, {2, 0, "bitmaps"}, {2, 1, "raw external data"},
}

const featureLen = 48

// encode writes the extensions in QEMU's order and returns where the next thing may begin.
func (e *extensions) encode(buf []byte, at int, v3 bool) (int, error) {
	full := false
	put := func(typ uint32, data []byte) {
		if full = full || len(buf)-at < 8+(len(data)+7)&^7; full {
			return
		}
		binary.BigEndian.PutUint32(buf[at:], typ)
		binary.BigEndian.PutUint32(buf[at+4:], uint32(len(data)))
		copy(buf[at+8:], data)
		at += 8 + (len(data)+7)&^7
	}
	if e.backingFormat != "" {
		put(extBackingFormat, []byte(e.backingFormat))
	}
	if e.dataFile != "" {
		put(extDataFile, []byte(e.dataFile))
	}
	if e.hasCrypto {
		put(extCrypto, binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, e.cryptoOffset), e.cryptoLength))
	}
	if v3 && len(buf) > 4096 { // smaller clusters need the room for the backing file's name
		var table []byte
		for _, f := range features {
			row := append([]byte{f.typ, f.bit}, f.name...)
			table = append(table, append(row, make([]byte, featureLen-len(row))...)...)
		}
		put(extFeatures, table)
	}
	if b := e.bitmaps; b.count > 0 {
		data := binary.BigEndian.AppendUint64(nil, uint64(b.count)<<32)
		data = binary.BigEndian.AppendUint64(data, b.directorySize)
		put(extBitmaps, binary.BigEndian.AppendUint64(data, b.directoryOffset))
	}
	for _, u := range e.unknown {
		put(u.magic, u.data)
	}
	put(extEnd, nil)
	if full {
		return 0, syscall.ENOSPC
	}
	return at, nil
}

// unsupported names the incompatible features in mask, by the image's own table where it has a name.
func (e *extensions) unsupported(mask uint64) error {
	var names []string
	for t := e.features; len(t) >= featureLen && t[2] != 0; t = t[featureLen:] {
		if t[0] == 0 && t[1] < 64 && mask>>t[1]&1 != 0 {
			names = append(names, cString(t[2:featureLen]))
			mask &^= 1 << t[1]
		}
	}
	if mask != 0 {
		names = append(names, fmt.Sprintf("Unknown incompatible feature: %x", mask))
	}
	return qerr.New(syscall.ENOTSUP, "Unsupported qcow2 feature(s): %s", strings.Join(names, ", "))
}
