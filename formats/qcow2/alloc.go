package qcow2

import (
	"context"
	"errors"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

// findFree finds the first count free clusters in a row from nextFree on and moves nextFree behind them, as QEMU does.
// mu is held.
func (i *image) findFree(ctx context.Context, count uint64) (hostOff, error) {
	i.settleDiscards(ctx)
	blocks := int64(0)
	for have := uint64(0); have < count; {
		t, err := i.refBlockOf(ctx, i.nextFree)
		if err != nil {
			return 0, err
		}
		// More full blocks than the file has clusters: the table names some again and again, to keep the search busy.
		if t != nil {
			blocks++
		}
		if blocks > i.clustersFor(i.file.Size())+int64(i.refBlocks.Dirty())+1 {
			return 0, i.signalCorruption(true, "Refcount blocks are used more than once")
		}
		end := (i.nextFree | (1<<i.refBlockBits - 1)) + 1
		for ; i.nextFree < end && have < count; i.nextFree++ {
			have++
			if t != nil && i.refcountIn(t, int(i.nextFree&(1<<i.refBlockBits-1))) != 0 {
				have = 0
			}
		}
	}
	// The L2 entry keeps 56 bits of an offset.
	if i.nextFree > (1<<56-1)>>i.clusterBits {
		return 0, qerr.New(syscall.EFBIG, "File too large")
	}
	return hostOff((i.nextFree - count) << i.clusterBits), nil
}

// settleDiscards punches what is queued, before any of it is used again. That it fails is no reason not to allocate. mu is
// held.
func (i *image) settleDiscards(ctx context.Context) {
	if len(i.discards) > 0 {
		_ = i.discardFree(ctx)
	}
}

// allocClusters takes a run of clusters for n bytes. mu is held.
func (i *image) allocClusters(ctx context.Context, n int64) (hostOff, error) {
	i.events.Raise(formats.EventClusterAlloc)
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
	i.settleDiscards(ctx)
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
	i.events.Raise(formats.EventClusterAllocBytes)
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
	i.events.Raise(formats.EventClusterFree)
	i.used(off, n)
	// An error leaks them; the one that led here is the one to report.
	_ = i.addRefcounts(ctx, off, n, -1, causeNever)
}

// hold takes space in the file for new tables, so that a full disk fails the request that needs them, and not the commit,
// by which time data that only they lead to was acknowledged. Where somebody listens to events they are written at once
// instead (commitTables). mu is held.
func (i *image) hold(ctx context.Context, off hostOff, n int64) error {
	if i.creating || i.events.Heard() {
		return nil
	}
	return i.file.WriteZeroes(ctx, int64(off), n, 0)
}

// isVirgin reports whether the clusters from off on, just allocated, were never used before, so that what is not written
// there reads as zeroes. mu is held.
func (i *image) isVirgin(off hostOff) bool { return off >= i.virgin }

// used says that the clusters [off, off+n), which are free again, may have been written. mu is held.
func (i *image) used(off hostOff, n int64) {
	i.virgin = max(i.virgin, hostOff(i.roundUp(int64(off)+n)))
}

// addRefBlock makes the refcount block for a cluster and returns errAgain on success. mu is held.
func (i *image) addRefBlock(ctx context.Context, cluster uint64) error {
	i.events.Raise(formats.EventRefBlockAlloc)
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
	if err := i.hold(ctx, off, i.clusterSize); err != nil {
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
	perBlock := uint64(1) << i.refBlockBits
	start := (max(cluster+1, own) + perBlock - 1) / perBlock * perBlock
	if _, err := i.refcountArea(ctx, start, 0, false, idx, off); err != nil {
		return err
	}
	return errAgain
}
