package ptable

import "encoding/binary"

// mostEntries bounds the entries of an Apple partition map that are read.
const mostEntries = 256

// readApple reads the partition map of Macintosh disks (Inside Macintosh: Devices, "The Partition Map"): a driver
// descriptor in the first block, then an entry a block. first is the disk's first 512 bytes.
func readApple(d Disk, first []byte) (*Table, error) {
	block := int64(binary.BigEndian.Uint16(first[2:]))
	if string(first[:2]) != "ER" || block < 512 || block > 4096 || block&(block-1) != 0 {
		return nil, nil
	}
	t := &Table{Kind: "mac", SectorSize: block}
	var e [512]byte
	for i, count := int64(1), int64(1); i <= count; i++ {
		if (i+1)*block > d.Size() {
			t.problem("the partition map leads past the end of the disk")
			break
		}
		if err := d.ReadAt(e[:], i*block); err != nil {
			return nil, err
		}
		if string(e[:2]) != "PM" {
			if i == 1 {
				return nil, nil
			}
			t.problem("entry %d of the partition map is none", i)
			break
		}
		if i == 1 {
			count = int64(binary.BigEndian.Uint32(e[4:]))
			if count > mostEntries {
				t.problem("of %d entries of the partition map %d are shown", count, mostEntries)
				count = mostEntries
			}
		}
		start, blocks, kind := binary.BigEndian.Uint32(e[8:]), binary.BigEndian.Uint32(e[12:]), text(e[48:80])
		if blocks != 0 {
			t.fit(d, Partition{Number: int(i), Start: int64(start) * block, Size: int64(blocks) * block, Type: kind,
				Name: text(e[16:48])})
		}
	}
	return t, nil
}
