package vmdk_test

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"strings"
)

// files are those of a hand-made disk, by name.
type files map[string][]byte

const sector = 512

func le32(v ...uint32) (p []byte) {
	for _, x := range v {
		p = binary.LittleEndian.AppendUint32(p, x)
	}
	return p
}

func le64(v ...uint64) (p []byte) {
	for _, x := range v {
		p = binary.LittleEndian.AppendUint64(p, x)
	}
	return p
}

// put copies parts into a new file, each at its sector.
func put(sectors int, parts map[int][]byte) []byte {
	p := make([]byte, sectors*sector)
	for at, data := range parts {
		copy(p[at*sector:], data)
	}
	return p
}

func pattern(b byte, sectors int) []byte {
	return bytes.Repeat([]byte{b, ^b, b + 1, 7}, sectors*sector/4)
}

// text is a descriptor with these extent lines.
func text(kind string, extents ...string) []byte {
	return []byte("# Disk DescriptorFile\nversion=1\nCID=0badcafe\nparentCID=ffffffff\ncreateType=\"" + kind + "\"\n" +
		strings.Join(extents, "\n") + "\n")
}

// cowd is an ESX sparse extent of 9000 sectors in grains of one sector: two tables exist, the third does not.
func cowd() []byte {
	return put(100, map[int][]byte{
		0: append([]byte("COWD"), le32(1, 3, 9000, 1, 4, 3, 100, 0, 0, 0)...),
		4: le32(8, 40, 0),
		8: le32(0, 80, 81, 0, 90), 40: le32(85),
		80: pattern(1, 2), 85: pattern(2, 1), 90: pattern(3, 1),
	})
}

// seSparse is an extent of 64 KiB with a grain of each kind; change patches the two headers.
func seSparse(change func(header, volatile []byte)) []byte {
	head := put(1, map[int][]byte{0: le64(0xcafebabe, 0x200000001, 128, 8, 64, 0, 0, 0, 0, 0, 1, 1, 2, 1, 3, 1, 4, 1, 8, 64,
		72, 1, 73, 1, 80, 32)})
	volatile := put(1, map[int][]byte{0: le64(0xcafecafe)})
	if change != nil {
		change(head, volatile)
	}
	return put(112, map[int][]byte{0: head, 1: volatile, 4: le64(0x1000000000000000),
		8:  le64(0, 0x3000000000000000, 0x1000000000000000, 0x2000000000000000, 0x3001000000000000|1<<48),
		80: pattern(5, 8), 88: pattern(6, 8)})
}

// header is that of a KDMV file.
type header struct {
	version, flags                                uint32
	capacity, grain, descriptor, descriptorLength uint64
	entries                                       uint32
	redundant, directory, data                    uint64
	compression                                   uint16
}

func (h header) bytes() []byte {
	p := append([]byte("KDMV"), le32(h.version, h.flags)...)
	p = append(p, le64(h.capacity, h.grain, h.descriptor, h.descriptorLength)...)
	p = append(append(p, le32(h.entries)...), le64(h.redundant, h.directory, h.data)...)
	p = append(p, "\x00\n \r\n"...)
	return put(1, map[int][]byte{0: append(p, byte(h.compression), 0)})
}

func plainHeader() header {
	return header{1, 3, 256, 16, 1, 20, 512, 21, 26, 32, 0}
}

// sparse is a monolithic disk of 128 KiB with grains of 8 KiB, the second and the last of which are stored.
func sparse(h header, descriptor []byte) []byte {
	last := make([]uint32, 16)
	last[1], last[15] = 32, 48
	return put(64, map[int][]byte{0: h.bytes(), 1: descriptor, 21: le32(22), 22: le32(last...), 26: le32(27), 27: le32(last...),
		32: pattern(8, 16), 48: pattern(9, 16)})
}

// grainAt is a compressed grain with its marker.
func grainAt(lba uint64, data []byte) []byte {
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	w.Write(data)
	w.Close()
	return append(append(le64(lba), le32(uint32(z.Len()))...), z.Bytes()...)
}

// stream is a compressed disk of 128 KiB as VMware makes them: markers before everything, the header in the footer.
func stream(change func(p []byte)) []byte {
	h := header{3, 0x30001, 256, 128, 1, 20, 512, 0, 1<<64 - 1, 128, 1}
	foot := h
	foot.directory = 145
	p := put(150, map[int][]byte{0: h.bytes(), 1: text("streamOptimized", `RW 256 SPARSE "disk.vmdk"`),
		128: grainAt(128, pattern(4, 128)), 139: append(le64(4), le32(0, 1)...), 140: le32(0, 128), 144: append(le64(1), le32(0, 2)...),
		145: le32(140), 147: append(le64(1), le32(0, 3)...), 148: foot.bytes(), 149: nil})
	if change != nil {
		change(p)
	}
	return p
}

// madeDisks are hand-made disks, right and damaged ones.
func madeDisks() map[string]files {
	one := func(p []byte) files { return files{"disk.vmdk": p} }
	disks := map[string]files{
		"cowd":     {"disk.vmdk": text("vmfsSparse", `RW 9000 VMFSSPARSE "d.vmdk"`), "d.vmdk": cowd()},
		"seSparse": {"disk.vmdk": text("seSparse", `RW 128 SESPARSE "d.vmdk"`), "d.vmdk": seSparse(nil)},
		"sparse":   one(sparse(plainHeader(), text("monolithicSparse"))),
		"stream":   one(stream(nil)),
		"crlf, mixed extents": {"disk.vmdk": bytes.ReplaceAll(text("vmfs", "# RW 1 FLAT x", `RW 8 FLAT "f.bin" 3`, `RDONLY 5 ZERO`,
			`RW 6 ZERO`, ` RW 4 VMFS "f.bin"`, `RW 9 OTHER "none"`, `RW 0 FLAT "none" 0`, `RW 256 SPARSE "s.vmdk"`), []byte("\n"), []byte("\r\n")),
			"f.bin": pattern(11, 20), "s.vmdk": sparse(plainHeader(), nil)},
		"order":          {"disk.vmdk": []byte("version=1\nRW 4 FLAT \"f.bin\" 0\ncreateType=\"vmfs\"\nparentCID=ffffffff\nCID=1\n"), "f.bin": pattern(1, 4)},
		"passwd":         one(text("monolithicFlat", `RW 2 FLAT "/etc/passwd" 0`)),
		"flat no offset": one(text("monolithicFlat", `RW 2 FLAT "f"`)),
		"vmfs offset":    one(text("vmfs", `RW 2 VMFS "f" 3`)),
		"sparse offset":  one(text("vmfs", `RW 2 SPARSE "f" 3`)),
		"negative":       one(text("vmfs", `RW 2 FLAT "f" -1`)),
		"not there":      one(text("vmfs", `RW 2 FLAT "f" 0`)),
		"custom":         one(text("custom", `RW 2 FLAT "f" 0`)),
		"no type":        one([]byte("version=1\nCID=1\nparentCID=ffffffff\n")),
		"no CID":         {"disk.vmdk": []byte("version=1\ncreateType=\"vmfs\"\nRW 1 VMFS \"f\"\nparent=1\n"), "f": pattern(1, 1)},
		"no parentCID":   {"disk.vmdk": []byte("version=1\nCID=1\ncreateType=\"vmfs\"\nRW 1 VMFS \"f\"\n"), "f": pattern(1, 1)},
		"no quote":       {"disk.vmdk": append(text("vmfs", `RW 1 VMFS "f"`), `parentFileNameHint="x`...), "f": pattern(1, 1)},
		"no image":       {"disk.vmdk": text("vmfsSparse", `RW 1 SPARSE "f"`), "f": pattern(1, 1)},
		"small extent":   {"disk.vmdk": text("vmfsSparse", `RW 1 SPARSE "f"`), "f": nil},
		"no footer":      one(stream(func(p []byte) { clear(p[148*sector:]) })),
		"bad marker":     one(stream(func(p []byte) { copy(p[128*sector+8:], "\xff\xff\xff\xff") })),
		"bad zlib":       one(stream(func(p []byte) { copy(p[128*sector+20:], "\xff\xff\xff\xff") })),
		"grain outside":  one(stream(func(p []byte) { copy(p[140*sector:], le32(5000)) })),
	}
	for name, change := range map[string]func(h *header){
		"version 4":     func(h *header) { h.version = 4 },
		"entries 1024":  func(h *header) { h.entries = 1024 },
		"entries 0":     func(h *header) { h.entries = 0 },
		"grain 0":       func(h *header) { h.grain = 0 },
		"grain huge":    func(h *header) { h.grain = 0x400000 },
		"grain odd":     func(h *header) { h.grain = 24 },
		"capacity huge": func(h *header) { h.capacity = 1 << 40 },
		"cut":           func(h *header) { h.data = 65 },
	} {
		h := plainHeader()
		change(&h)
		disks[name] = one(sparse(h, text("monolithicSparse")))
	}
	for i, change := range []func(h, v []byte){
		func(h, _ []byte) { h[0]++ }, func(h, _ []byte) { h[8]++ }, func(h, _ []byte) { h[24]++ }, func(h, _ []byte) { h[32]++ },
		func(h, _ []byte) { h[40]++ }, func(h, _ []byte) { h[56]++ }, func(h, _ []byte) { h[510]++ }, func(_, v []byte) { v[1]++ },
		func(_, v []byte) { v[24]++ }, func(_, v []byte) { v[500]++ }, func(h, _ []byte) { copy(h[136:], le64(1<<40)) },
	} {
		disks[fmt.Sprintf("seSparse damage %d", i)] = files{
			"disk.vmdk": text("seSparse", `RW 128 SESPARSE "d.vmdk"`), "d.vmdk": seSparse(change)}
	}
	return disks
}
