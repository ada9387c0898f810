package vpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net/url"
	"path"
	"strings"
	"syscall"
	"unicode/utf16"

	"platter/formats"
	"platter/formats/internal/parentpath"
	"platter/formats/qerr"
)

// Platform codes of parent locators.
const (
	locatorRelative = "W2ru" // UTF-16, relative to the image
	locatorAbsolute = "W2ku" // UTF-16
	locatorMac      = "MacX" // a file: URL in UTF-8
)

// maxLocator bounds the length of a path that a locator may have, in bytes.
const maxLocator = 64 << 10

// identified is what a differencing image asks of its parent.
type identified interface{ UUID() [16]byte }

// UUID identifies the image to differencing images that are based on it.
func (d *image) UUID() (id [16]byte) {
	copy(id[:], d.foot[atUUID:])
	return id
}

// BackingFile is the parent of a differencing image: the relative path if the image keeps one, otherwise the last
// element of the absolute one, of a Macintosh URL, or of the parent's name.
func (d *image) BackingFile() (name, format string) {
	if d.kind != typeDifferencing {
		return "", ""
	}
	if p := d.locator(locatorRelative); p != "" {
		return strings.TrimPrefix(path.Clean(p), "./"), "vpc"
	}
	if p := d.locator(locatorAbsolute); p != "" {
		return path.Base(p), "vpc"
	}
	if u, err := url.Parse(strings.TrimRight(string(d.rawLocator(locatorMac)), "\x00")); err == nil && u.Path != "" {
		return path.Base(u.Path), "vpc"
	}
	if p := parentpath.Local(decodeUTF16(d.head[atParentName:atParentName+512], binary.BigEndian)); p != "" {
		return path.Base(p), "vpc"
	}
	return "", ""
}

// locator reads the Windows path of one platform; "" if the image has none.
func (d *image) locator(platform string) string {
	return parentpath.Local(decodeUTF16(d.rawLocator(platform), binary.LittleEndian))
}

// rawLocator reads the path of one platform; nil if the image has none.
func (d *image) rawLocator(platform string) []byte {
	be := binary.BigEndian
	for k := range 8 {
		l := d.head[atLocators+24*k:]
		n, off := be.Uint32(l[8:]), be.Uint64(l[16:])
		if string(l[:4]) != platform || n == 0 || n > maxLocator || off > uint64(d.file.Size()) {
			continue
		}
		raw := make([]byte, n)
		if d.file.ReadAt(context.Background(), raw, int64(off)) == nil {
			return raw
		}
	}
	return nil
}

// locatorsEnd is the end of the last path, which lies between the table and the first block: blocks must not go there.
func (d *image) locatorsEnd() int64 {
	be, end := binary.BigEndian, int64(0)
	for k := range 8 {
		l := d.head[atLocators+24*k:]
		n, off := int64(be.Uint32(l[8:])), int64(be.Uint64(l[16:]))
		if n > 0 && n <= maxLocator && off > 0 && off < d.file.Size() {
			end = max(end, (off+n+sectorSize-1)&^(sectorSize-1))
		}
	}
	return end
}

func decodeUTF16(p []byte, order binary.ByteOrder) string {
	words := make([]uint16, len(p)/2)
	for i := range words {
		words[i] = order.Uint16(p[2*i:])
	}
	s := string(utf16.Decode(words))
	if i := strings.IndexByte(s, 0); i >= 0 {
		s = s[:i]
	}
	return s
}

// SetBacking attaches the parent, which must be the image that this one was made of.
func (d *image) SetBacking(f formats.File) error {
	if f == nil {
		d.backing = nil
		return nil
	}
	if d.kind != typeDifferencing {
		return qerr.New(syscall.EINVAL, "Driver doesn't support backing files")
	}
	want := d.head[atParentUUID : atParentUUID+16]
	if p, ok := formats.As[identified](f); !ok {
		return qerr.New(syscall.EINVAL, "the parent of '%s' is not a VHD image", d.name)
	} else if got := p.UUID(); !bytes.Equal(got[:], want) {
		return qerr.New(syscall.EINVAL, "the parent of '%s' has the identifier %s, the image was made of %s",
			d.name, uuidText(got[:]), uuidText(want))
	}
	d.backing = f
	return nil
}

func uuidText(p []byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", p[:4], p[4:6], p[6:8], p[8:10], p[10:16])
}
