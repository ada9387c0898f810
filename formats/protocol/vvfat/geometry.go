package vvfat

import (
	"syscall"

	"platter/formats/qerr"
)

const (
	sectorSize        = 512
	sectorsPerCluster = 16
	clusterSize       = sectorsPerCluster * sectorSize
	rootEntries       = 2 * clusterSize / entrySize
)

// geometry is where everything lies; numbers are sectors unless said otherwise.
type geometry struct {
	kind        uint32 // bits of a FAT entry
	cyls        uint32
	heads, secs uint32 // heads of a cylinder, sectors of a track
	boot        uint32 // the boot sector
	total       uint32 // of the partition
	fatSectors  uint32 // of one FAT
	root        uint32 // the root directory: cluster 0
	clusters    uint32 // number of clusters
	floppy      bool
}

func newGeometry(kind uint64, floppy bool) (geometry, error) {
	g := geometry{floppy: floppy}
	switch {
	case floppy:
		g.cyls, g.heads, g.secs = 80, 2, 36
		if kind == 12 {
			g.secs = 18
		}
		if kind == 0 {
			kind = 12
		}
	default:
		g.cyls, g.heads, g.secs, g.boot = 1024, 16, 63, 63
		if kind == 12 {
			g.cyls = 64
		}
		if kind == 0 {
			kind = 16
		}
	}
	if kind != 12 && kind != 16 && kind != 32 {
		return g, qerr.New(syscall.EINVAL, "Valid FAT types are only 12, 16 and 32")
	}
	g.kind = uint32(kind)
	g.total = g.cyls*g.heads*g.secs - g.boot
	// Each sector of the FAT stands for itself and for the clusters of its entries.
	share := 1 + sectorsPerCluster*sectorSize*8/g.kind
	g.fatSectors = (g.total + share) / share
	g.root = g.boot + 1 + 2*g.fatSectors
	g.clusters = (g.total - g.root) / sectorsPerCluster
	return g, nil
}

// size is the length of the disk in bytes.
func (g *geometry) size() int64 { return int64(g.cyls) * int64(g.heads) * int64(g.secs) * sectorSize }
