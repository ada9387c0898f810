package qcow2

import (
	"context"
	"encoding/binary"
	"errors"
	"syscall"

	"platter/formats/qerr"
)

// findFree finds the first count free clusters in a row from nextFree on and moves nextFree behind them, as QEMU does.
// mu is held.
func (i *image) findFree(ctx context.Context, count uint64) (hostOff, error) {
	for have := uint64(0); have < count; {
		ref, err := i.refcount(ctx, i.nextFree)
		if err != nil {
			return 0, err
		}
		i.nextFree++
		have++
		if ref != 0 {
			have = 0
		}
	}
	// The L2 entry keeps 56 bits of an offset.
	if i.nextFree > (1<<56-1)>>i.clusterBits {
		return 0, qerr.New(syscall.EFBIG, "File too large")
	}
	return hostOff((i.nextFree - count) << i.clusterBits), nil
}

// allocClusters takes a run of clusters for n bytes. mu is held.
func (i *image) allocClusters(ctx context.Context, n int64) (hostOff, error) {
	for {
		off, err := i.findFree(ctx, uint64(i.clustersFor(n)))
		if err != nil {
			return 0, err
		}
		err = i.addRefcounts(ctx, off, i.roundUp(n), 1, causeNever)
		if errors.Is(err, errAgain) {
			continue
		}
		if err != nil {
			return 0, err
		}
		return off, i.checkFree(off, n)
	}
}

// allocClustersAt takes at most count clusters from off on, as long as they are free, and returns how many. mu is held.
func (i *image) allocClustersAt(ctx context.Context, off hostOff, count int64) (int64, error) {
	for {
		got := int64(0)
		for ; got < count; got++ {
			ref, err := i.refcount(ctx, uint64(off)>>i.clusterBits+uint64(got))
			if err != nil {
				return 0, err
			}
			if ref != 0 {
				break
			}
		}
		if got == 0 {
			return 0, nil
		}
		err := i.addRefcounts(ctx, off, got<<i.clusterBits, 1, causeNever)
		if errors.Is(err, errAgain) {
			continue
		}
		if err != nil {
			return 0, err
		}
		return got, i.checkFree(off, got<<i.clusterBits)
	}
}

// allocBytes takes n bytes, at most a cluster, for compressed data; they go on behind the last ones if they can. mu is
// held.
func (i *image) allocBytes(ctx context.Context, n int64) (hostOff, error) {
	off := i.nextFreeByte
	if off != 0 {
		ref, err := i.refcount(ctx, uint64(off)>>i.clusterBits)
		if err != nil {
			return 0, err
		}
		if ref == i.refMax || ref == 0 {
			off = 0
		}
	}
	room := i.clusterSize - i.inCluster(int64(off))
	for {
		if off == 0 || room < n {
			next, err := i.findFree(ctx, 1)
			if err != nil {
				return 0, err
			}
			if next == 0 {
				return 0, i.signalCorruption(true, "Preventing invalid allocation of compressed cluster at offset 0")
			}
			if err := i.checkFree(next, i.clusterSize); err != nil {
				return 0, err
			}
			if off == 0 || hostOff(i.roundUp(int64(off))) != next {
				off, room = next, i.clusterSize
			} else {
				room += i.clusterSize
			}
		}
		err := i.addRefcounts(ctx, off, n, 1, causeNever)
		if errors.Is(err, errAgain) {
			off = 0
			continue
		}
		if err != nil {
			return 0, err
		}
		break
	}
	if i.nextFreeByte = off + hostOff(n); i.inCluster(int64(i.nextFreeByte)) == 0 {
		i.nextFreeByte = 0
	}
	return off, nil
}

// freeNow gives back clusters that were just taken and that nothing refers to. mu is held.
func (i *image) freeNow(ctx context.Context, off hostOff, n int64) {
	// An error leaks them; the one that led here is the one to report.
	_ = i.addRefcounts(ctx, off, n, -1, causeNever)
}

// takeVirgin reports whether the clusters [off, off+n), just allocated, were never used before, so that what is not
// written there reads as zeroes. mu is held.
func (i *image) takeVirgin(off hostOff, n int64) bool {
	fresh := off >= i.virgin
	i.virgin = max(i.virgin, off+hostOff(i.roundUp(n)))
	return fresh
}

// addRefBlock makes the refcount block for a cluster and returns errAgain on success. mu is held.
func (i *image) addRefBlock(ctx context.Context, cluster uint64) error {
	off, err := i.findFree(ctx, 1)
	if err != nil {
		return err
	}
	if off == 0 {
		return i.signalCorruption(true, "Preventing invalid allocation of refcount block at offset 0")
	}
	if err := i.checkFree(off, i.clusterSize); err != nil {
		return err
	}
	own := uint64(off) >> i.clusterBits
	describesItself := own>>i.refBlockBits == cluster>>i.refBlockBits
	if !describesItself {
		// Described by another block, which may have to be made first; after two steps one describes itself.
		if err := i.addRefcounts(ctx, off, i.clusterSize, 1, causeNever); err != nil {
			return err
		}
	}
	t := i.refBlocks.Insert(int64(off), nil)
	i.refBlocks.MarkDirty(t, 0, t.Len())
	i.takeVirgin(off, i.clusterSize)
	if describesItself {
		i.setRefcountIn(t, int(own&(1<<i.refBlockBits-1)), 1)
	}
	i.noteMeta(off, i.clusterSize, refcountBlock)
	idx := cluster >> i.refBlockBits
	if idx < uint64(len(i.refTable)) {
		i.refTable[idx] = uint64(off)
		i.refTableDirty[int(idx)] = struct{}{}
		return errAgain
	}
	if err := i.growRefTable(ctx, idx, off, max(cluster+1, own)); err != nil {
		return err
	}
	return errAgain
}

// growRefTable makes a larger refcount table at the first place behind all that refcount blocks describe, together with
// the refcount blocks that describe that place. The block at off, with index idx, becomes part of it. mu is held.
func (i *image) growRefTable(ctx context.Context, idx uint64, off hostOff, used uint64) error {
	perBlock := uint64(1) << i.refBlockBits
	start := (used + perBlock - 1) / perBlock * perBlock
	blocks := i.newRefBlocks(start)
	entries := max(start/perBlock+blocks, idx+1)
	size := i.roundUp(int64(entries+(entries+1)/2) * 8)
	if size > maxRefTable {
		return qerr.New(syscall.EFBIG, "File too large")
	}
	table := make([]uint64, size/8)
	copy(table, i.refTable)
	table[idx] = uint64(off)
	end := start + blocks + uint64(i.clustersFor(size))
	for b := range blocks {
		at := (start + b) << i.clusterBits
		table[start/perBlock+b] = at
		t := i.refBlocks.Insert(int64(at), nil)
		i.refBlocks.MarkDirty(t, 0, t.Len())
		for c := start + b*perBlock; c < min(end, start+(b+1)*perBlock); c++ {
			i.setRefcountIn(t, int(c&(perBlock-1)), 1)
		}
		i.noteMeta(hostOff(at), i.clusterSize, refcountBlock)
	}
	at := hostOff((start + blocks) << i.clusterBits)
	i.takeVirgin(hostOff(start<<i.clusterBits), int64(end-start)<<i.clusterBits)
	i.noteMeta(at, size, refcountTable)
	oldAt, oldSize := hostOff(i.hdr.refTableOffset), int64(len(i.refTable))*8
	i.refTable, i.refTableMoved = table, true
	i.hdr.refTableOffset, i.hdr.refTableCluster = uint64(at), uint32(i.clustersFor(size))
	i.release(oldAt, oldSize, causeOther)
	return nil
}

// newRefBlocks is how many refcount blocks describe themselves and a table that is large enough for all up to them.
func (i *image) newRefBlocks(start uint64) uint64 {
	perBlock := uint64(1) << i.refBlockBits
	blocks := uint64(1)
	for {
		entries := start/perBlock + blocks
		clusters := uint64(i.clustersFor(i.roundUp(int64(entries+(entries+1)/2) * 8)))
		need := (blocks + clusters + perBlock - 1) / perBlock
		if need <= blocks {
			return blocks
		}
		blocks = need
	}
}

// encodeWords is the big-endian form of a table.
func encodeWords(words []uint64) []byte {
	raw := make([]byte, len(words)*8)
	for k, w := range words {
		binary.BigEndian.PutUint64(raw[k*8:], w)
	}
	return raw
}
