package vpc

import "syscall"

// geometry is a disk's cylinders, heads and sectors per track.
type geometry struct {
	cylinders uint16
	heads     uint8
	track     uint8
}

func (g geometry) sectors() int64 { return int64(g.cylinders) * int64(g.heads) * int64(g.track) }

// geometryFor is the calculation of the VHD specification, "CHS Calculation"; it rounds down.
func geometryFor(sectors int64) geometry {
	sectors = min(sectors, maxGeometry)
	if sectors >= 65535*16*63 {
		return geometry{uint16(sectors / 255 / 16), 16, 255}
	}
	track := int64(17)
	perHead := sectors / track
	heads := max((perHead+1023)/1024, 4)
	if perHead >= heads*1024 || heads > 16 {
		track, heads = 31, 16
		perHead = sectors / track
	}
	if perHead >= heads*1024 {
		track, heads = 63, 16
		perHead = sectors / track
	}
	return geometry{uint16(perHead / heads), uint8(heads), uint8(track)}
}

// layout finds geometry and size for a new disk of size bytes: the smallest geometry that holds it, whose size is then
// the disk's. Where the geometry is at its limit, or a size is forced, the size is exact.
func layout(size int64, forced bool) (geometry, int64, error) {
	want := int64((uint64(size) + sectorSize - 1) / sectorSize)
	limit := geometry{65535, 16, 255}
	g := limit
	if want == 0 {
		return geometry{}, 0, nil
	}
	for n := want; !forced; n++ {
		if g = geometryFor(n); g.sectors() >= want || n >= maxGeometry {
			break
		}
	}
	if g == limit {
		if want > maxSectors {
			return g, 0, syscall.EFBIG
		}
		return g, want, nil
	}
	return g, g.sectors(), nil
}
