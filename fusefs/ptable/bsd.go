package ptable

import (
	"encoding/binary"
	"fmt"
)

// BSD disklabels (disklabel(5) of FreeBSD, NetBSD and OpenBSD): one sector with up to 22 entries, named by letters.
const (
	labelMagic   = 0x82564557
	labelHeader  = 148
	labelEntry   = 16
	labelMost    = 22
	labelBytes   = labelHeader + labelMost*labelEntry
	wholeDisk    = 2 // the entry c stands for all of the disk or slice
	freeBSDSlice = 0xa5
)

// bsdSlice tells whether an MBR partition may have a label of its own.
func bsdSlice(kind byte) bool { return kind == freeBSDSlice || kind == 0xa6 || kind == 0xa9 }

// label is a disklabel that was read.
type label struct {
	sector  int64
	damaged bool // the checksum is wrong, as in those of parted
	entries []labelPart
}

type labelPart struct {
	start, size int64 // bytes
	kind        byte
}

// readLabel reads the label at off, nil if there is none.
func readLabel(d Disk, off int64) (*label, error) {
	var b [labelBytes]byte
	if off+labelBytes > d.Size() {
		return nil, nil
	}
	if err := d.ReadAt(b[:], off); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	n, sector := int(le.Uint16(b[138:])), int64(le.Uint32(b[40:]))
	if le.Uint32(b[:]) != labelMagic || le.Uint32(b[132:]) != labelMagic || n > labelMost ||
		sector < 512 || sector > 4096 || sector&(sector-1) != 0 {
		return nil, nil
	}
	sum := uint16(0)
	for i := 0; i < labelHeader+n*labelEntry; i += 2 {
		sum ^= le.Uint16(b[i:])
	}
	l := &label{sector: sector, damaged: sum != 0}
	for i := range n {
		e := b[labelHeader+i*labelEntry:]
		l.entries = append(l.entries, labelPart{int64(le.Uint32(e[4:])) * sector, int64(le.Uint32(e)) * sector, e[12]})
	}
	return l, nil
}

// readBSD reads a label that describes a whole disk: in the second sector, or where Alpha machines and parted put it.
func readBSD(d Disk) (*Table, error) {
	for _, off := range []int64{512, 64, 0} {
		l, err := readLabel(d, off)
		if err != nil {
			return nil, err
		}
		if l == nil {
			continue
		}
		t := &Table{Kind: "bsd", SectorSize: l.sector}
		t.note(l)
		for i, e := range l.entries {
			if e.size != 0 && e.kind != 0 {
				t.fit(d, Partition{Number: i + 1, Start: e.start, Size: e.size, Type: fmt.Sprintf("0x%02x", e.kind)})
			}
		}
		return t, nil
	}
	return nil, nil
}

func (t *Table) note(l *label) {
	if l.damaged {
		t.problem("the BSD label has a wrong checksum")
	}
}

// nested adds the partitions of a label within an MBR partition. FreeBSD counts them from the beginning of the slice if
// the one that stands for all of it begins at 0; the others count from the beginning of the disk.
func (t *Table) nested(d Disk, slice Partition, kind byte) error {
	l, err := readLabel(d, slice.Start+512)
	if err != nil || l == nil {
		return err
	}
	t.note(l)
	relative := kind == freeBSDSlice && len(l.entries) > wholeDisk && l.entries[wholeDisk].start == 0
	for i, e := range l.entries {
		if relative {
			e.start += slice.Start
		}
		switch letter := string(rune('a' + i)); {
		case e.size == 0 || e.kind == 0 || e.start == slice.Start && e.size == slice.Size:
		case e.start < slice.Start || e.start+e.size > slice.Start+slice.Size:
			t.problem("partition %d%s lies outside of partition %d", slice.Number, letter, slice.Number)
		default:
			t.fit(d, Partition{Number: slice.Number, Letter: letter, Start: e.start, Size: e.size, Type: fmt.Sprintf("0x%02x", e.kind)})
		}
	}
	return nil
}
