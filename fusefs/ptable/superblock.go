package ptable

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Content is what a partition, or a whole disk, holds.
type Content struct {
	Kind  string // as blkid names it; "" if it is not known
	Label string
	UUID  string
}

// probes are tried in order; each looks at n bytes at off.
var probes = []struct {
	off, n int64
	look   func(b []byte) (Content, bool)
}{
	{0, 512, luks},
	{0, 512, xfs},
	{0x400, 1024, ext},
	{0x10000, 4096, btrfs},
	{0, 4096, swap},
	{0, 512, ntfs},
	{0, 512, fat},
	{0x8000, 2048, iso9660},
}

// Probe recognises the file system, swap space or LUKS container on a disk.
func Probe(d Disk) (Content, error) {
	var buf [4096]byte
	for _, p := range probes {
		if p.off+p.n > d.Size() {
			continue
		}
		if err := d.ReadAt(buf[:p.n], p.off); err != nil {
			return Content{}, err
		}
		if c, ok := p.look(buf[:p.n]); ok {
			return c, nil
		}
	}
	return Content{}, nil
}

func luks(b []byte) (Content, bool) {
	if string(b[:6]) != "LUKS\xba\xbe" {
		return Content{}, false
	}
	c := Content{Kind: "crypto_LUKS", UUID: text(b[168:208])}
	if binary.BigEndian.Uint16(b[6:]) == 2 {
		c.Label = text(b[24:72])
	}
	return c, true
}

func xfs(b []byte) (Content, bool) {
	return Content{Kind: "xfs", UUID: uuid(b[32:]), Label: text(b[108:120])}, string(b[:4]) == "XFSB"
}

// ext distinguishes by the features that mke2fs gives each generation.
func ext(b []byte) (Content, bool) {
	if b[0x38] != 0x53 || b[0x39] != 0xef {
		return Content{}, false
	}
	c := Content{Kind: "ext2", UUID: uuid(b[0x68:]), Label: text(b[0x78:0x88])}
	const journal, extents = 0x4, 0x40
	if binary.LittleEndian.Uint32(b[0x5c:])&journal != 0 {
		c.Kind = "ext3"
	}
	if binary.LittleEndian.Uint32(b[0x60:])&extents != 0 {
		c.Kind = "ext4"
	}
	return c, true
}

func btrfs(b []byte) (Content, bool) {
	return Content{Kind: "btrfs", UUID: uuid(b[0x20:]), Label: text(b[0x12b:0x22b])}, string(b[0x40:0x48]) == "_BHRfS_M"
}

func swap(b []byte) (Content, bool) {
	return Content{Kind: "swap", UUID: uuid(b[0x40c:]), Label: text(b[0x41c:0x42c])}, string(b[4086:4096]) == "SWAPSPACE2"
}

func ntfs(b []byte) (Content, bool) {
	return Content{Kind: "ntfs", UUID: fmt.Sprintf("%016X", binary.LittleEndian.Uint64(b[0x48:]))}, string(b[3:11]) == "NTFS    "
}

func fat(b []byte) (Content, bool) {
	at := 0
	switch {
	case b[510] != 0x55 || b[511] != 0xaa:
	case string(b[0x52:0x57]) == "FAT32":
		at = 0x43
	case string(b[0x36:0x39]) == "FAT":
		at = 0x27
	}
	if at == 0 {
		return Content{}, false
	}
	serial := binary.LittleEndian.Uint32(b[at:])
	c := Content{Kind: "vfat", UUID: fmt.Sprintf("%04X-%04X", serial>>16, serial&0xffff), Label: text(b[at+4 : at+15])}
	if c.Label == "NO NAME" {
		c.Label = ""
	}
	return c, true
}

func iso9660(b []byte) (Content, bool) {
	return Content{Kind: "iso9660", Label: text(b[40:72])}, string(b[1:6]) == "CD001"
}

func text(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return strings.TrimRight(s, " ")
}

func uuid(b []byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
}
