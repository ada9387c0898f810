package ptable

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"
	"unicode/utf16"
)

// maxEntries bounds the entries that are read; the specification's minimum is 128 and Linux uses no more than 256.
const maxEntries = 1024

// readGPT tries the header in the second sector, then the one in the last, for both sizes of sectors.
func readGPT(d Disk) (*Table, error) {
	var problems []string
	for _, sector := range []int64{512, 4096} {
		for _, backup := range []bool{false, true} {
			at := sector
			if backup {
				at = d.Size()/sector*sector - sector
			}
			t, why, err := tryGPT(d, sector, at)
			if err != nil {
				return nil, err
			}
			if t != nil {
				t.Backup = backup
				t.Problems = append(problems, t.Problems...)
				return t, nil
			}
			if why != "" && !backup {
				problems = append(problems, "first header: "+why)
			}
		}
	}
	return nil, nil
}

// tryGPT reads a header and its entries. why says what is wrong where there is a header's signature.
func tryGPT(d Disk, sector, at int64) (t *Table, why string, err error) {
	if at <= 0 || at+sector > d.Size() {
		return nil, "", nil
	}
	h := make([]byte, sector)
	if err := d.ReadAt(h, at); err != nil {
		return nil, "", err
	}
	if string(h[:8]) != "EFI PART" {
		return nil, "", nil
	}
	size := int64(binary.LittleEndian.Uint32(h[12:]))
	if size < 92 || size > sector {
		return nil, "impossible size", nil
	}
	want := binary.LittleEndian.Uint32(h[16:])
	binary.LittleEndian.PutUint32(h[16:], 0)
	if crc32.ChecksumIEEE(h[:size]) != want {
		return nil, "wrong checksum", nil
	}
	if mine := binary.LittleEndian.Uint64(h[24:]); mine != uint64(at/sector) {
		return nil, "it belongs to another place", nil
	}
	t = &Table{Kind: "gpt", ID: guid(h[56:]), SectorSize: sector}
	return t.gptEntries(d, h)
}

func (t *Table) gptEntries(d Disk, h []byte) (*Table, string, error) {
	lba := binary.LittleEndian.Uint64(h[72:])
	count, size := int64(binary.LittleEndian.Uint32(h[80:])), int64(binary.LittleEndian.Uint32(h[84:]))
	if size < 128 || size > 4096 || size%8 != 0 || count < 0 || count > maxEntries {
		return nil, "impossible entries", nil
	}
	if lba > uint64((d.Size()-count*size)/t.SectorSize) || count*size > d.Size() {
		return nil, "its entries lie past the end of the disk", nil
	}
	table := make([]byte, count*size)
	if len(table) > 0 {
		if err := d.ReadAt(table, int64(lba)*t.SectorSize); err != nil {
			return nil, "", err
		}
	}
	if crc32.ChecksumIEEE(table) != binary.LittleEndian.Uint32(h[88:]) {
		return nil, "wrong checksum of the entries", nil
	}
	for i := range count {
		t.gptEntry(d, int(i)+1, table[i*size:(i+1)*size])
	}
	return t, "", nil
}

func (t *Table) gptEntry(d Disk, number int, e []byte) {
	kind := guid(e)
	if kind == "00000000-0000-0000-0000-000000000000" {
		return
	}
	first, last := binary.LittleEndian.Uint64(e[32:]), binary.LittleEndian.Uint64(e[40:])
	if first > last || last >= 1<<62/uint64(t.SectorSize) {
		t.problem("partition %d ends before it begins, or nowhere", number)
		return
	}
	t.fit(d, Partition{Number: number, Start: int64(first) * t.SectorSize, Size: int64(last-first+1) * t.SectorSize,
		Type: kind, UUID: guid(e[16:]), Name: utf16Name(e[56:128]), Bootable: e[48]&4 != 0})
}

// guid prints the mixed-endian form of the specification's appendix A in lower case.
func guid(b []byte) string {
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]),
		binary.LittleEndian.Uint16(b[6:]), b[8:10], b[10:16])
}

func utf16Name(b []byte) string {
	var u []uint16
	for ; len(b) >= 2; b = b[2:] {
		c := binary.LittleEndian.Uint16(b)
		if c == 0 {
			break
		}
		u = append(u, c)
	}
	return strings.ToValidUTF8(string(utf16.Decode(u)), "?")
}
