package vvfat

import "encoding/binary"

const (
	diskID   = 0xbe1afdfa
	volumeID = 0xfabe1afd
)

// head makes the sectors before the first FAT.
func (g *geometry) head(label string) []byte {
	p := make([]byte, (g.boot+1)*sectorSize)
	if !g.floppy {
		g.partitionTable(p)
	}
	g.bootSector(p[g.boot*sectorSize:], label)
	return p
}

// media is the media descriptor, which the FAT repeats.
func (g *geometry) media() byte {
	if g.floppy {
		return 0xf0
	}
	return 0xf8
}

func (g *geometry) bootSector(p []byte, label string) {
	le := binary.LittleEndian
	copy(p, "\xeb\x3e\x90MSWIN4.1")
	le.PutUint16(p[11:], sectorSize)
	p[13] = sectorsPerCluster
	le.PutUint16(p[14:], 1) // reserved sectors
	p[16] = 2               // FATs
	le.PutUint16(p[17:], rootEntries)
	if g.total <= 0xffff {
		le.PutUint16(p[19:], uint16(g.total))
	} else {
		le.PutUint32(p[32:], g.total)
	}
	p[21] = g.media()
	le.PutUint16(p[22:], uint16(g.fatSectors))
	le.PutUint16(p[24:], uint16(g.secs))
	le.PutUint16(p[26:], uint16(g.heads))
	le.PutUint32(p[28:], g.boot)
	if !g.floppy {
		p[36] = 0x80
	}
	p[38] = 0x29
	le.PutUint32(p[39:], volumeID)
	copy(p[43:54], padded(label))
	if g.kind == 12 {
		copy(p[54:], "FAT12   ")
	} else {
		copy(p[54:], "FAT16   ")
	}
	p[510], p[511] = 0x55, 0xaa
}

func padded(label string) []byte {
	p := []byte("           ")
	copy(p, label)
	return p
}

func (g *geometry) partitionTable(p []byte) {
	le := binary.LittleEndian
	le.PutUint32(p[0x1b8:], diskID)
	e := p[0x1be:]
	total := g.cyls * g.heads * g.secs
	e[0] = 0x80
	g.chs(e[1:], g.boot)
	g.chs(e[5:], total-1)
	e[4] = map[uint32]byte{12: 0x01, 16: 0x06, 32: 0x0b}[g.kind]
	le.PutUint32(e[8:], g.boot)
	le.PutUint32(e[12:], total-g.boot)
	p[510], p[511] = 0x55, 0xaa
}

// chs writes a sector's number as head, sector and cylinder.
func (g *geometry) chs(p []byte, n uint32) {
	sector, n := n%g.secs, n/g.secs
	head, cyl := n%g.heads, n/g.heads
	p[0], p[1], p[2] = byte(head), byte(sector+1)|byte(cyl>>8<<6), byte(cyl)
}
