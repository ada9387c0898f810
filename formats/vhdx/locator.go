package vhdx

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"syscall"
	"unicode/utf16"

	"platter/formats"
	"platter/formats/internal/parentpath"
	"platter/formats/qerr"
)

// maxLocator bounds a parent locator, a metadata item (section 2.6: at most 1 MiB).
const maxLocator = mib

// locator is the parent locator of a differencing image (section 2.6.2.6).
type locator struct{ values map[string]string }

func loadLocator(ctx context.Context, f formats.File, it item) (*locator, error) {
	if it.length < 20 || it.length > maxLocator {
		return nil, qerr.New(syscall.EINVAL, "VHDX parent locator has an invalid length of %d bytes", it.length)
	}
	raw := make([]byte, it.length)
	if err := f.ReadAt(ctx, raw, it.off); err != nil {
		return nil, err
	}
	if guid(raw[:16]) != guidParentVHDX {
		return nil, qerr.New(syscall.ENOTSUP, "VHDX parent locator is of an unknown type")
	}
	le := binary.LittleEndian
	count := int(le.Uint16(raw[18:]))
	l := &locator{map[string]string{}}
	for i := range count {
		at := 20 + i*12
		if at+12 > len(raw) {
			return nil, qerr.New(syscall.EINVAL, "VHDX parent locator entry %d is outside of the locator", i)
		}
		e := raw[at:]
		key, ok1 := text(raw, le.Uint32(e), le.Uint16(e[8:]))
		value, ok2 := text(raw, le.Uint32(e[4:]), le.Uint16(e[10:]))
		if !ok1 || !ok2 {
			return nil, qerr.New(syscall.EINVAL, "VHDX parent locator entry %d is outside of the locator", i)
		}
		l.values[key] = value
	}
	return l, nil
}

// text decodes UTF-16.
func text(raw []byte, off uint32, length uint16) (string, bool) {
	if uint64(off)+uint64(length) > uint64(len(raw)) {
		return "", false
	}
	units := make([]uint16, length/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(raw[int(off)+i*2:])
	}
	return strings.TrimRight(string(utf16.Decode(units)), "\x00"), true
}

// name is the parent's file name on this host: the relative path, or the last part of a path on the Windows machine that
// made the image.
func (l *locator) name() string {
	if p := parentpath.Local(l.values["relative_path"]); p != "" {
		return strings.TrimPrefix(p, "./")
	}
	for _, key := range []string{"absolute_win32_path", "volume_path"} {
		p := parentpath.Local(l.values[key])
		if p = p[strings.LastIndexByte(p, '/')+1:]; p != "" {
			return p
		}
	}
	return ""
}

// encode makes the metadata item.
func (l *locator) encode() []byte {
	le := binary.LittleEndian
	raw := append(guidParentVHDX[:], 0, 0)
	raw = le.AppendUint16(raw, uint16(len(l.values)))
	var texts []byte
	place := func(s string) (off uint32, n uint16) {
		off = uint32(20 + 12*len(l.values) + len(texts))
		for _, u := range utf16.Encode([]rune(s)) {
			texts = le.AppendUint16(texts, u)
			n += 2
		}
		return off, n
	}
	for _, k := range slices.Sorted(maps.Keys(l.values)) {
		key, keyLen := place(k)
		value, valueLen := place(l.values[k])
		raw = le.AppendUint32(le.AppendUint32(raw, key), value)
		raw = le.AppendUint16(le.AppendUint16(raw, keyLen), valueLen)
	}
	return append(raw, texts...)
}

// links says whether the parent may have the data GUID g: both linkages of a merged chain count.
func (l *locator) links(g guid) bool {
	for _, key := range []string{"parent_linkage", "parent_linkage2"} {
		if strings.EqualFold(strings.Trim(l.values[key], "{}"), g.String()) {
			return true
		}
	}
	return false
}
