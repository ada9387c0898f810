package vvfat

import "encoding/binary"

// table is a file allocation table.
type table struct {
	kind  uint32
	end   uint32 // the mark of a last cluster
	bytes []byte
}

// newTable makes an empty table, with room for every cluster even where the sectors of the FAT end before.
func newTable(g geometry) *table {
	n := max(g.fatSectors*sectorSize, (g.clusters+3)*g.kind/8+4)
	t := &table{kind: g.kind, bytes: make([]byte, n)}
	t.end = map[uint32]uint32{12: 0xfff, 16: 0xffff, 32: 0x0fffffff}[g.kind]
	t.set(0, t.end)
	t.set(1, t.end)
	return t
}

// set writes an entry.
func (t *table) set(cluster, v uint32) {
	switch t.kind {
	case 32:
		binary.LittleEndian.PutUint32(t.bytes[cluster*4:], v)
	case 16:
		binary.LittleEndian.PutUint16(t.bytes[cluster*2:], uint16(v))
	default:
		p := t.bytes[cluster*3/2:]
		if cluster&1 == 0 {
			p[0], p[1] = byte(v), p[1]&0xf0|byte(v>>8)&0x0f
		} else {
			p[0], p[1] = p[0]&0x0f|byte(v)<<4, byte(v>>4)
		}
	}
}

// chain links the clusters from begin up to end.
func (t *table) chain(begin, end uint32) {
	for c := begin; c+1 < end; c++ {
		t.set(c, c+1)
	}
	t.set(end-1, t.end)
}
