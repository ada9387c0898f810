package qcow2

import (
	"context"

	"platter/formats"
)

// Status describes the run at off as QEMU's driver does.
func (i *image) Status(ctx context.Context, off, n int64) (formats.Extent, error) {
	if err := i.usable(); err != nil {
		return formats.Extent{}, err
	}
	e, err := i.lookupLong(ctx, guestOff(off), n, false)
	if err != nil {
		return formats.Extent{}, err
	}
	out := formats.Extent{Len: e.n}
	if e.kind.hasHost() && i.cipher == nil && i.data != nil {
		out.Where, out.Offset = i.data, int64(e.host)
	}
	switch e.kind {
	case zeroPlain, zeroAlloc:
		out.State = formats.Zero
	case compressed:
		out.State = formats.Data | formats.Compressed
	case normal:
		out.State = formats.Data
		if out.Where != nil && i.mayHaveHoles(ctx) {
			out.State |= formats.Recurse
		}
	}
	return out, nil
}

// mayHaveHoles finds out once whether data clusters may have been allocated without being written (preallocation=
// metadata): then the file takes less space than the refcounts say. Asking it for holes costs time otherwise.
func (i *image) mayHaveHoles(ctx context.Context) bool {
	if v := i.recurse.Load(); v != 0 {
		return v == 2
	}
	v := int32(1)
	if i.preallocated(ctx) {
		v = 2
	}
	i.recurse.Store(v)
	return v == 2
}

// preallocated compares the space that the file takes with what the refcounts say, as QEMU does.
func (i *image) preallocated(ctx context.Context) bool {
	if i.external() {
		return true
	}
	sized, ok := i.file.(formats.HostSized)
	if !ok {
		return false
	}
	onHost, err := sized.AllocatedSize(ctx)
	if err != nil {
		return false // a place that does not tell its size does not tell its holes either
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	limit := i.clustersFor(onHost)
	limit += max(limit/10, 1) // a tenth above what metadata and compression explain
	var used int64
	for c, end := uint64(0), uint64(i.clustersFor(i.file.Size())); c < end; c++ {
		ref, err := i.refcount(ctx, c)
		if err != nil {
			return false
		}
		if ref != 0 {
			if used++; used > limit {
				return true
			}
		}
	}
	return false
}
