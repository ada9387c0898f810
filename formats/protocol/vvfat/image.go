package vvfat

import (
	"context"
	"errors"
	"io"
	"os"
	"sort"
	"syscall"

	"golang.org/x/sys/unix"

	"platter/formats"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// image is an open directory.
type image struct {
	geometry
	head  []byte // the sectors before the first FAT
	fat   []byte // of which there are two copies
	items []item // by cluster
}

func (d *image) Size() int64 { return d.size() }

// Limits: QEMU's driver works in sectors.
func (d *image) Limits() formats.Limits { return formats.Limits{Align: sectorSize} }

// ReadAt puts the disk together.
func (d *image) ReadAt(ctx context.Context, p []byte, off int64) error {
	root := int64(d.root) * sectorSize
	for len(p) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := 0
		switch {
		case off < int64(len(d.head)):
			n = copy(p, d.head[off:])
		case off < root:
			n = copy(p, d.fat[(off-int64(len(d.head)))%int64(len(d.fat)):])
		default:
			var err error
			if n, err = d.readClusters(p, off-root); err != nil {
				return err
			}
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// readClusters reads from one item, or the free space before the next; off counts from cluster 0.
func (d *image) readClusters(p []byte, off int64) (int, error) {
	c := uint32(off / clusterSize)
	i := sort.Search(len(d.items), func(i int) bool { return d.items[i].end > c })
	if i == len(d.items) || d.items[i].begin > c {
		n := int64(len(p))
		if i < len(d.items) {
			n = min(n, int64(d.items[i].begin)*clusterSize-off)
		}
		clear(p[:n])
		return int(n), nil
	}
	m := &d.items[i]
	p = p[:min(int64(len(p)), int64(m.end)*clusterSize-off)]
	inside := off - int64(m.begin)*clusterSize
	if m.dir == nil {
		return len(p), d.readFile(p, i, inside)
	}
	n := 0
	if inside < int64(len(m.dir.entries)) {
		n = copy(p, m.dir.entries[inside:])
	}
	clear(p[n:])
	return len(p), nil
}

// readFile reads the content of a file, and zeroes behind its size. The file may be another by now.
func (d *image) readFile(p []byte, i int, off int64) error {
	name := path(d.items, i)
	n := min(max(d.items[i].size-off, 0), int64(len(p)))
	clear(p[n:])
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return qerr.Errno(qerr.Of(err), "Could not read '%s'", name)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return qerr.New(syscall.EIO, "Could not read '%s': it is no longer a regular file", name)
	}
	got, err := f.ReadAt(p[:n], off)
	if err != nil && !errors.Is(err, io.EOF) {
		return qerr.Errno(qerr.Of(err), "Could not read '%s'", name)
	}
	clear(p[got:n])
	return nil
}

// Status calls everything data, as QEMU does.
func (d *image) Status(_ context.Context, _, n int64) (formats.Extent, error) {
	return formats.Extent{Len: n, State: formats.Data | formats.Unplaced}, nil
}

func (d *image) Flush(context.Context) error { return nil }

func (d *image) Close() error { return nil }

// FileName is none: the options say what the disk is.
func (d *image) FileName() string { return "" }

// AllocatedSize is not known.
func (d *image) AllocatedSize(context.Context) (int64, error) {
	return 0, qerr.New(syscall.ENOTSUP, "vvfat has no size on the host")
}

// Info says that QEMU tells nothing of these images.
func (d *image) Info(context.Context) (formats.Info, error) {
	return formats.Info{}, qerr.New(syscall.ENOTSUP, "vvfat has no block information")
}

// Specific is nothing.
func (d *image) Specific(context.Context) (string, *qobj.Dict, error) { return "", nil, nil }
