package parallels

import (
	"context"
	"math"
	"sync"
	"sync/atomic"

	"platter/formats"
	"platter/formats/internal/blockmap"
)

// image is an open image. Offsets and lengths are in bytes.
type image struct {
	file     formats.File
	head     *header
	writable bool
	cluster  int64
	unit     int64 // what entries of the BAT count
	start    int64 // of the data area
	backing  formats.File
	reserve  reserve

	// moving is held for reading while data moves into or out of clusters, so that none of them gets another owner.
	moving sync.RWMutex

	mu      sync.Mutex
	settled sync.Cond // pending changed
	table   *blockmap.Map
	end     int64           // of the last cluster that was ever allocated
	unclean bool            // the mark of being in use was found
	pending map[uint32]bool // clusters being allocated
	used    bitset          // clusters of the data area
	given   []int64         // places given up since the last flush
	bitmaps []*storedBitmap // of the format extension, which is read where the image is not written

	extension atomic.Bool // the image is open for writing and its header still names a format extension
	dropping  sync.Mutex
}

func (d *image) Size() int64 { return int64(d.head.sectors) * sectorSize }

// Limits: a new image has no clusters.
func (d *image) Limits() formats.Limits { return formats.Limits{ZeroInit: true} }

// BackingFile is none: the format has no place for a name.
func (d *image) BackingFile() (name, format string) { return "", "" }

// SetBacking takes a backing file that the user names.
func (d *image) SetBacking(f formats.File) error {
	d.backing = f
	return nil
}

// fileLen is the file's length in whole sectors, as QEMU sees it.
func (d *image) fileLen() int64 { return (d.file.Size() + sectorSize - 1) / sectorSize * sectorSize }

// where gives the offset in the file of cluster c; 0 if it has none.
func (d *image) where(ctx context.Context, c int64) (int64, error) {
	if c >= int64(d.head.entries) {
		return 0, nil
	}
	e, err := d.table.Get(ctx, uint32(c))
	return int64(e) * d.unit, err
}

// maxRun bounds the entries that are looked at in one go, under mu.
const maxRun = 1 << 16

// run finds a run from off, at most n bytes, that is contiguous in the file or all unallocated (host 0).
func (d *image) run(ctx context.Context, off, n int64) (host, length int64, err error) {
	at, err := d.where(ctx, off/d.cluster)
	if err != nil {
		return 0, 0, err
	}
	if off/d.cluster >= int64(d.head.entries) {
		return 0, n, nil // a header can say that there are 2⁵⁴ clusters, which no BAT has
	}
	inside := off % d.cluster
	length = min(d.cluster-inside, n)
	for k := 0; length < n && k < maxRun; k++ {
		if hole := d.hole(off + length); at == 0 && hole > 0 {
			length += min(hole, n-length)
			continue
		}
		next, err := d.where(ctx, (off+length)/d.cluster)
		if err != nil {
			return 0, 0, err
		}
		if (next == 0) != (at == 0) || at != 0 && next != at+inside+length {
			break
		}
		length += min(d.cluster, n-length)
	}
	if at == 0 {
		return 0, length, nil
	}
	return at + inside, length, nil
}

// eachHeld calls f for the entries of the BAT that the file holds; those behind its end are zero.
func (d *image) eachHeld(ctx context.Context, f func(c, entry uint32)) error {
	_, err := d.table.EachHeld(ctx, f)
	return err
}

// hole is the length from off, where a cluster begins, whose entries of the BAT are not in the file.
func (d *image) hole(off int64) int64 {
	c := off / d.cluster
	if c >= int64(d.head.entries) {
		return math.MaxInt64 - off
	}
	return int64(d.table.Hole(uint32(c))) * d.cluster
}

func (d *image) ReadAt(ctx context.Context, p []byte, off int64) error {
	d.moving.RLock()
	defer d.moving.RUnlock()
	for len(p) > 0 {
		d.mu.Lock()
		host, n, err := d.run(ctx, off, int64(len(p)))
		d.mu.Unlock()
		switch {
		case err != nil:
		case host != 0:
			err = d.file.ReadAt(ctx, p[:n], host)
		default:
			err = d.readBehind(ctx, p[:n], off)
		}
		if err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// readBehind reads what lies behind this image; past the end of the backing file are zeroes.
func (d *image) readBehind(ctx context.Context, p []byte, off int64) error {
	n := int64(0)
	if d.backing != nil {
		n = min(max(d.backing.Size()-off, 0), int64(len(p)))
	}
	clear(p[n:])
	if n == 0 {
		return nil
	}
	return d.backing.ReadAt(ctx, p[:n], off)
}

// Status tells of whole runs, as QEMU's driver does.
func (d *image) Status(ctx context.Context, off, n int64) (formats.Extent, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	host, n, err := d.run(ctx, off, n)
	if err != nil || host == 0 {
		return formats.Extent{Len: n}, err
	}
	return formats.Extent{Len: n, State: formats.Data, Where: d.file, Offset: host}, nil
}
