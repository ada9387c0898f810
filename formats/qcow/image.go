package qcow

import (
	"context"
	"sync"

	"platter/formats"
	"platter/formats/crypt"
	"platter/formats/internal/chunkcache"
	"platter/formats/internal/tablecache"
	"platter/formats/qobj"
)

// image is an open qcow.
type image struct {
	file        formats.File
	events      formats.Events
	backing     formats.File // nil: none
	head        *header
	clusterSize int64
	cipher      *crypt.Block // nil: not encrypted, or opened for its metadata
	decoded     *chunkcache.Cache

	flushing sync.Mutex

	mu      sync.Mutex
	free    sync.Cond // pending changed
	l1, l2  *tablecache.Cache
	end     int64          // of what is allocated in the file
	pending map[int64]bool // guest clusters being allocated, by number
}

// Size is in whole sectors: QEMU does not show the rest of an odd size.
func (d *image) Size() int64 { return int64(d.head.size) &^ (sectorSize - 1) }

// Limits: requests are whole sectors.
func (d *image) Limits() formats.Limits {
	return formats.Limits{Align: sectorSize, ZeroInit: true}
}

// BackingFile gives the name in the header; the format is not stored.
func (d *image) BackingFile() (name, format string) { return d.head.backing, "" }

// SetBacking attaches or detaches the backing file.
func (d *image) SetBacking(f formats.File) error {
	d.backing = f
	return nil
}

// Encrypted reports whether the header names an encryption method.
func (d *image) Encrypted() bool { return d.head.crypt != cryptNone }

// Info is what QEMU tells of a qcow.
func (d *image) Info(context.Context) (formats.Info, error) {
	return formats.Info{ClusterSize: d.clusterSize, Encrypted: d.Encrypted()}, nil
}

// Specific is nothing.
func (d *image) Specific(context.Context) (string, *qobj.Dict, error) { return "", nil, nil }

// Status stops at every cluster with data, as QEMU's driver does; the callers merge. What is not there is told of at once,
// since a small file can have very much of it.
func (d *image) Status(ctx context.Context, off, n int64) (formats.Extent, error) {
	inside := off & (d.clusterSize - 1)
	d.mu.Lock()
	defer d.mu.Unlock()
	entry, err := d.entry(ctx, off)
	if err == nil && entry == 0 {
		_, n, err = d.run(ctx, off, n)
	} else {
		n = min(n, d.clusterSize-inside)
	}
	switch {
	case err != nil:
		return formats.Extent{}, err
	case entry == 0:
		return formats.Extent{Len: n}, nil
	case entry&flagCompressed != 0:
		return formats.Extent{Len: n, State: formats.Data | formats.Compressed}, nil
	case d.Encrypted():
		return formats.Extent{Len: n, State: formats.Data}, nil
	}
	return formats.Extent{Len: n, State: formats.Data, Where: d.file, Offset: int64(entry) + inside}, nil
}

// Close writes what is not yet in the file.
func (d *image) Close() error { return d.flush(context.Background()) }
