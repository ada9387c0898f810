package dmg

import (
	"context"
	"sort"
	"syscall"

	"platter/formats"
	"platter/formats/internal/chunkcache"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// segment is a part of the data fork in a file of its own.
type segment struct {
	file      formats.File
	base      int64  // where the part begins in the file
	from, end uint64 // what part of the data fork it is
}

// image is an open dmg.
type image struct {
	segments []segment
	chunks   []chunk // by first sector
	size     int64
	cache    *chunkcache.Cache
}

func (d *image) Size() int64 { return d.size }

// Limits: the tables know sectors.
func (d *image) Limits() formats.Limits { return formats.Limits{Align: sectorSize} }

// find gives the number of the chunk that holds the sector.
func (d *image) find(sector uint64) (int, error) {
	i := sort.Search(len(d.chunks), func(i int) bool { return d.chunks[i].first > sector }) - 1
	if i < 0 || sector-d.chunks[i].first >= d.chunks[i].count {
		return 0, qerr.New(syscall.EIO, "dmg: sector %d is in no chunk that can be read", sector)
	}
	return i, nil
}

// part is what a request wants of one chunk.
type part struct {
	chunk  int
	inside int64 // bytes from the start of the chunk
	p      []byte
}

// split divides a request into the parts of its chunks; zeroes are filled in at once.
func (d *image) split(p []byte, off int64) ([]part, error) {
	var parts []part
	for len(p) > 0 {
		i, err := d.find(uint64(off) / sectorSize)
		if err != nil {
			return nil, err
		}
		c := &d.chunks[i]
		inside := uint64(off) - c.first*sectorSize
		n := min(uint64(len(p)), c.count*sectorSize-inside)
		if i+1 < len(d.chunks) { // the next chunk wins where two overlap
			n = min(n, d.chunks[i+1].first*sectorSize-uint64(off))
		}
		if c.empty() {
			clear(p[:n])
		} else {
			parts = append(parts, part{i, int64(inside), p[:n:n]})
		}
		p, off = p[n:], off+int64(n)
	}
	return parts, nil
}

// readStored reads n bytes of the data fork, across segments.
func (d *image) readStored(ctx context.Context, p []byte, off uint64) error {
	for _, s := range d.segments {
		if len(p) == 0 {
			break
		}
		if off < s.from || off >= s.end {
			continue
		}
		n := min(uint64(len(p)), s.end-off)
		at := off - s.from
		if size := uint64(s.file.Size()); at > size || uint64(s.base)+at > size || n > size-uint64(s.base)-at {
			return qerr.New(syscall.EIO, "dmg: stored data at %d+%d is outside the file", uint64(s.base)+at, n)
		}
		if err := s.file.ReadAt(ctx, p[:n], s.base+int64(at)); err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	if len(p) > 0 {
		return qerr.New(syscall.EIO, "dmg: stored data at %d+%d is in no segment", off, len(p))
	}
	return nil
}

// Status calls everything data, as QEMU does.
func (d *image) Status(_ context.Context, _, n int64) (formats.Extent, error) {
	return formats.Extent{Len: n, State: formats.Data}, nil
}

func (d *image) Flush(context.Context) error { return nil }

func (d *image) Close() error { return nil }

// Info says that QEMU tells nothing of these images.
func (d *image) Info(context.Context) (formats.Info, error) {
	return formats.Info{}, qerr.New(syscall.ENOTSUP, "dmg has no block information")
}

// Specific is nothing.
func (d *image) Specific(context.Context) (string, *qobj.Dict, error) { return "", nil, nil }
