package qcow2

import (
	"context"
	"encoding/binary"
	"syscall"

	"platter/formats/qerr"
)

// Bitmaps are stored when the image is closed: bits, tables and a directory go to new places, a write of the header makes
// them valid, and the former ones are given up. Until then the directory in the file calls them in use.

// storeBitmaps stores the bitmaps when the image is closed. commitMu is held.
func (i *image) storeBitmaps(ctx context.Context) error {
	need := false
	for _, b := range i.bitmaps.list {
		need = need || !b.broken
	}
	if !need {
		return nil
	}
	var list, old []*storedBitmap
	for _, b := range i.bitmaps.list {
		if b.broken {
			list = append(list, b)
			continue
		}
		if b.table != 0 {
			was := *b
			old = append(old, &was)
		}
		now, err := i.storeBits(ctx, b)
		if err != nil {
			return qerr.Prepend(err, "Lost persistent bitmaps during inactivation of node '#block100': ")
		}
		list = append(list, now)
	}
	if err := i.replaceDirectory(ctx, list, func() error { return i.commitLocked(ctx, true) }); err != nil {
		return qerr.Errno(qerr.Of(err), "Lost persistent bitmaps during inactivation of node '#block100': "+
			"Failed to update bitmap extension")
	}
	for _, b := range old {
		i.freeBitmap(ctx, b)
	}
	return nil
}

// storeBits writes the bits and the table of a bitmap to new clusters.
func (i *image) storeBits(ctx context.Context, b *storedBitmap) (*storedBitmap, error) {
	now := &storedBitmap{name: b.name, shift: b.shift, bits: b.bits, enabled: b.enabled}
	if b.enabled {
		now.flags = bitmapAuto
	}
	words, perEntry := b.bits.Words(), int(i.clusterSize/8)
	table := make([]uint64, (len(words)+perEntry-1)/perEntry)
	raw := make([]byte, i.clusterSize)
	for k := range table {
		part := words[k*perEntry : min((k+1)*perEntry, len(words))]
		if allZero64(part) {
			continue
		}
		clear(raw)
		for w, v := range part {
			binary.LittleEndian.PutUint64(raw[w*8:], v)
		}
		off, err := i.storeCluster(ctx, raw, b.name)
		if err != nil {
			return nil, err
		}
		table[k] = uint64(off)
	}
	if len(table) == 0 {
		return nil, qerr.New(syscall.EINVAL, "No memory") // QEMU's word for a disk of no size
	}
	off, err := i.storeCluster(ctx, encodeWords(table), b.name)
	if err != nil {
		return nil, err
	}
	now.table, now.entries = off, int64(len(table))
	return now, nil
}

func allZero64(words []uint64) bool {
	for _, w := range words {
		if w != 0 {
			return false
		}
	}
	return true
}

// storeCluster writes p to new clusters.
func (i *image) storeCluster(ctx context.Context, p []byte, name string) (hostOff, error) {
	i.mu.Lock()
	off, err := i.allocClusters(ctx, int64(len(p)))
	i.mu.Unlock()
	if err != nil {
		return 0, qerr.Errno(qerr.Of(err), "Failed to allocate clusters for bitmap '%s'", name)
	}
	if err := i.file.WriteAt(ctx, p, int64(off), 0); err != nil {
		return 0, qerr.Errno(qerr.Of(err), "Failed to write bitmap '%s' to file", name)
	}
	return off, nil
}

// replaceDirectory writes a directory of the bitmaps in list to a new place, and the header that names it. An error
// leaves the former one.
func (i *image) replaceDirectory(ctx context.Context, list []*storedBitmap, commit func() error) error {
	now := bitmapsExt{}
	if raw := encodeBitmapDirectory(list); len(raw) > 0 {
		if len(raw) > maxBitmapDirectory || len(list) > maxBitmaps {
			return syscall.EINVAL
		}
		off, err := i.storeCluster(ctx, raw, "")
		if err != nil {
			return err
		}
		now = bitmapsExt{count: uint32(len(list)), directorySize: uint64(len(raw)), directoryOffset: uint64(off)}
	}
	// What the header is about to name must be in the file, refcounts included.
	if err := commit(); err != nil {
		return err
	}
	old, features := i.hdr.ext.bitmaps, i.hdr.autoclear
	i.mu.Lock()
	i.hdr.ext.bitmaps = now
	i.hdr.autoclear &^= autoclearBitmaps
	if now.count > 0 {
		i.hdr.autoclear |= autoclearBitmaps
	}
	i.headerDirty = true
	i.mu.Unlock()
	err := commit()
	i.mu.Lock()
	defer i.mu.Unlock()
	if err != nil {
		i.hdr.ext.bitmaps, i.hdr.autoclear = old, features
		return err
	}
	i.bitmaps.list = list
	i.bitmaps.update()
	i.forgetMeta()
	if old.count > 0 {
		i.freeNow(ctx, hostOff(old.directoryOffset), int64(old.directorySize))
	}
	return nil
}

// freeBitmap gives back the clusters of a bitmap that the directory no longer names. A damaged table leaks.
func (i *image) freeBitmap(ctx context.Context, b *storedBitmap) {
	table, err := i.readBitmapTable(ctx, b)
	if err != nil {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, e := range table {
		if off := e & entryOffset; off != 0 {
			_ = i.addRefcounts(ctx, hostOff(off), i.clusterSize, -1, causeAlways)
		}
	}
	_ = i.addRefcounts(ctx, b.table, b.entries*8, -1, causeOther)
	_ = i.discardFree(ctx) // before the clusters are used again
}
