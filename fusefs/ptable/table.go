package ptable

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Table is a partition table.
type Table struct {
	Kind       string // "gpt", "dos", "mac" or "bsd"
	ID         string // GUID, or the 32-bit signature in hexadecimal; "" if the kind has none
	SectorSize int64  // bytes
	Backup     bool   // read from the copy at the end of the disk
	Partitions []Partition
	Problems   []string // what was left out, and why
}

// Partition is one entry.
type Partition struct {
	Number   int    // as Linux counts
	Letter   string // of a partition within partition Number, whose BSD label names it so; "" otherwise
	Start    int64  // bytes
	Size     int64  // bytes
	Type     string // GUID, the type byte as 0x83, or Apple's word
	UUID     string // as in /dev/disk/by-partuuid
	Name     string // GPT and Apple's map only
	Bootable bool   // active flag, or GPT's legacy BIOS attribute
}

// Disk is where a table is read from.
type Disk interface {
	// ReadAt fills p; the range lies within Size.
	ReadAt(p []byte, off int64) error
	// Size is in bytes.
	Size() int64
}

// most bounds the logical partitions that are followed; Linux stops at 256, too.
const most = 256

// Read gives the table of a disk, nil if it has none.
func Read(d Disk) (*Table, error) {
	if d.Size() < 1024 {
		return nil, nil
	}
	var first [512]byte
	if err := d.ReadAt(first[:], 0); err != nil {
		return nil, err
	}
	signed := first[510] == 0x55 && first[511] == 0xaa
	if signed && protective(first[:]) || !signed {
		t, err := readGPT(d)
		if t != nil || err != nil {
			return t, err
		}
	}
	if signed && plausible(first[:]) {
		return readMBR(d, first[:])
	}
	if t, err := readApple(d, first[:]); t != nil || err != nil {
		return t, err
	}
	return readBSD(d)
}

// entry is one of the four of a boot record.
type entry struct {
	active, kind byte
	start, count int64 // sectors
}

func entries(sector []byte) [4]entry {
	var all [4]entry
	for i := range all {
		e := sector[446+16*i:]
		all[i] = entry{e[0], e[4], int64(binary.LittleEndian.Uint32(e[8:])), int64(binary.LittleEndian.Uint32(e[12:]))}
	}
	return all
}

func protective(sector []byte) bool {
	for _, e := range entries(sector) {
		if e.kind == 0xee {
			return true
		}
	}
	return false
}

// plausible tells a table from the boot sector of a file system, which ends in the same two bytes: there the places of
// the active flags hold code or text.
func plausible(sector []byte) bool {
	used := false
	for _, e := range entries(sector) {
		if e.active&0x7f != 0 {
			return false
		}
		used = used || e.kind != 0
	}
	if string(sector[3:7]) == "NTFS" || string(sector[0x36:0x39]) == "FAT" || string(sector[0x52:0x55]) == "FAT" {
		return used && entries(sector)[0].count != 0
	}
	return used
}

func extended(kind byte) bool { return kind == 0x05 || kind == 0x0f || kind == 0x85 }

func readMBR(d Disk, sector []byte) (*Table, error) {
	t := &Table{Kind: "dos", SectorSize: 512, ID: fmt.Sprintf("%08x", binary.LittleEndian.Uint32(sector[440:]))}
	for i, e := range entries(sector) {
		if e.kind == 0 || e.count == 0 {
			continue
		}
		t.add(d, i+1, e, e.start)
	}
	next := 5
	for _, e := range entries(sector) {
		if !extended(e.kind) || e.count == 0 {
			continue
		}
		if err := t.logical(d, e.start, e.count, &next); err != nil {
			return nil, err
		}
	}
	for i, e := range entries(sector) {
		at := slices.IndexFunc(t.Partitions, func(p Partition) bool { return p.Number == i+1 })
		if at < 0 || !bsdSlice(e.kind) {
			continue
		}
		if err := t.nested(d, t.Partitions[at], e.kind); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t *Table) add(d Disk, number int, e entry, start int64) {
	p := Partition{Number: number, Start: start * 512, Size: e.count * 512, Type: fmt.Sprintf("0x%02x", e.kind),
		UUID: fmt.Sprintf("%s-%02x", t.ID, number), Bootable: e.active&0x80 != 0}
	t.fit(d, p)
}

// fit appends a partition that lies within the disk, and cuts one that ends behind it.
func (t *Table) fit(d Disk, p Partition) {
	if p.Start >= d.Size() || p.Start < 0 {
		t.problem("partition %d begins at %d, past the end of the disk", p.Number, p.Start)
		return
	}
	if p.Size > d.Size()-p.Start {
		t.problem("partition %d ends past the end of the disk and was cut", p.Number)
		p.Size = d.Size() - p.Start
	}
	t.Partitions = append(t.Partitions, p)
}

func (t *Table) problem(format string, a ...any) {
	t.Problems = append(t.Problems, fmt.Sprintf(format, a...))
}

// logical follows the chain of extended boot records. first and count bound the extended partition, in sectors.
func (t *Table) logical(d Disk, first, count int64, next *int) error {
	var sector [512]byte
	seen := map[int64]bool{}
	for at := first; !seen[at]; {
		seen[at] = true
		if *next > most || at*512 > d.Size()-512 {
			t.problem("the chain of logical partitions leads past the end of the disk or is too long")
			return nil
		}
		if err := d.ReadAt(sector[:], at*512); err != nil {
			return err
		}
		if sector[510] != 0x55 || sector[511] != 0xaa {
			return nil
		}
		e := entries(sector[:])
		if e[0].kind != 0 && e[0].count != 0 && !extended(e[0].kind) {
			t.add(d, *next, e[0], at+e[0].start)
			*next++
		}
		if !extended(e[1].kind) || e[1].count == 0 {
			return nil
		}
		if e[1].start >= count {
			t.problem("a logical partition lies outside the extended one")
			return nil
		}
		at = first + e[1].start
	}
	t.problem("the chain of logical partitions is a loop")
	return nil
}
