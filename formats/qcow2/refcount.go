package qcow2

import (
	"context"
	"errors"
	"syscall"

	"platter/formats"
	"platter/formats/internal/tablecache"
	"platter/formats/qerr"
)

// errAgain says that clusters were used for refcount blocks meanwhile: what the caller has found free may not be any
// more.
var errAgain = errors.New("refcount structures have grown")

// refcountIn reads refcount idx of a block (width 2^refOrder bits; from 8 bits on big-endian, below that the lowest bits
// of a byte come first).
func (i *image) refcountIn(t *tablecache.Table, idx int) uint64 {
	word, shift := i.refPlace(idx)
	return t.Get(word) >> shift & i.refMask()
}

func (i *image) refMask() uint64 {
	if i.refOrder == 6 {
		return 1<<64 - 1
	}
	return 1<<(1<<i.refOrder) - 1
}

// refPlace finds the big-endian word that holds a refcount, and how far the refcount is above its lowest bit.
func (i *image) refPlace(idx int) (word int, shift uint) {
	bit := uint(idx) << i.refOrder
	word, in := int(bit/64), bit%64
	if i.refOrder >= 3 {
		return word, 64 - in - 1<<i.refOrder
	}
	return word, 56 - in&^7 + in&7
}

func (i *image) setRefcountIn(t *tablecache.Table, idx int, v uint64) {
	word, shift := i.refPlace(idx)
	w := t.Get(word)
	i.refBlocks.Set(t, word, w&^(i.refMask()<<shift)|v<<shift)
}

// refBlockOf loads the refcount block of a cluster; nil if it has none, which means that the cluster is free. mu is held.
func (i *image) refBlockOf(ctx context.Context, cluster uint64) (*tablecache.Table, error) {
	idx := cluster >> i.refBlockBits
	if idx >= uint64(len(i.refTable)) {
		return nil, nil
	}
	off := int64(i.refTable[idx] &^ refReserved)
	if off == 0 {
		return nil, nil
	}
	if i.inCluster(off) != 0 {
		return nil, i.signalCorruption(true, "Refblock offset %#x unaligned (reftable index: %#x)", off, idx)
	}
	i.events.Raise(formats.EventRefBlockLoad)
	if t := i.refBlocks.Find(off); t != nil {
		return t, nil
	}
	raw := make([]byte, i.clusterSize)
	if err := i.file.ReadAt(ctx, raw, off); err != nil {
		return nil, err
	}
	return i.refBlocks.Insert(off, raw), nil
}

// refcount reads the refcount of a host cluster. mu is held.
func (i *image) refcount(ctx context.Context, cluster uint64) (uint64, error) {
	t, err := i.refBlockOf(ctx, cluster)
	if t == nil || err != nil {
		return 0, err
	}
	return i.refcountIn(t, int(cluster&(1<<i.refBlockBits-1))), nil
}

// addRefcounts adds delta, 1 or more or -1 or less, to the refcount of every cluster that [off, off+n) touches. Clusters whose
// refcount becomes 0 are free at once: what the file still refers to goes through release instead. errAgain: see there;
// whatever the error, nothing is changed. mu is held.
func (i *image) addRefcounts(ctx context.Context, off hostOff, n int64, delta int64, why cause) error {
	if n <= 0 {
		return nil
	}
	first, last := uint64(off)>>i.clusterBits, uint64(int64(off)+n-1)>>i.clusterBits
	done, err := i.addTo(ctx, first, last+1, delta, why)
	if err == nil {
		return nil
	}
	if done > first {
		virgin := i.virgin
		// What cannot be undone leaks; the error that led here is the one to report.
		_, _ = i.addTo(ctx, first, done, -delta, causeNever)
		if delta > 0 {
			i.virgin = virgin // nobody has written there
		}
	}
	if errors.Is(err, errAgain) {
		i.nextFree = min(i.nextFree, first) // the search tries the same place again
	}
	return err
}

// addRefcount changes the refcount of one cluster. mu is held.
func (i *image) addRefcount(ctx context.Context, c uint64, delta int64, why cause) error {
	_, err := i.addTo(ctx, c, c+1, delta, why)
	return err
}

// addTo changes the refcounts of clusters [c, end), block by block, and returns the first one that it did not change.
func (i *image) addTo(ctx context.Context, c, end uint64, delta int64, why cause) (uint64, error) {
	for c < end {
		t, err := i.refBlockOf(ctx, c)
		if err != nil {
			return c, err
		}
		if t == nil && delta < 0 {
			return c, qerr.New(syscall.EINVAL, "cluster %#x has no refcount to lower", c)
		}
		if t == nil {
			return c, i.addRefBlock(ctx, c)
		}
		if err := i.checkMeta(hostOff(t.Off()), refcountBlock); err != nil {
			return c, err
		}
		for last := min(end, (c|(1<<i.refBlockBits-1))+1); c < last; c++ {
			idx := int(c & (1<<i.refBlockBits - 1))
			old := i.refcountIn(t, idx)
			if delta > 0 && old > i.refMax-uint64(delta) || delta < 0 && old < uint64(-delta) {
				return c, qerr.New(syscall.EINVAL, "the refcount of cluster %#x cannot be changed from %d by %d", c, old, delta)
			}
			now := old + uint64(delta)
			i.setRefcountIn(t, idx, now)
			if now == 0 {
				i.clusterFreed(ctx, c, why)
			}
		}
	}
	return c, nil
}

// clusterFreed forgets what is known of a cluster that is free now.
func (i *image) clusterFreed(ctx context.Context, c uint64, why cause) {
	i.nextFree = min(i.nextFree, c)
	off := int64(c) << i.clusterBits
	i.virgin = max(i.virgin, hostOff(off+i.clusterSize)) // whatever was there may have been written
	for at := off; at < off+i.clusterSize; at += i.l2.TableSize() {
		i.l2.Drop(at)
	}
	i.refBlocks.Drop(off)
	delete(i.metaClusters, c)
	delete(i.fresh, hostOff(off))
	if i.clusterStart(int64(i.nextFreeByte)) == off {
		i.nextFreeByte = 0
	}
	i.clusters.forget()
	if i.opts.discard[why] {
		i.queueDiscard(hostOff(off), i.clusterSize)
	}
}
