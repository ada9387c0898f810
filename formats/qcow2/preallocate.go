package qcow2

import (
	"context"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

// preallocate gives every cluster of [from, to) its place, in pieces as QEMU allocates them, and makes the file that
// holds the data long enough.
func (i *image) preallocate(ctx context.Context, from, to guestOff, pre formats.Prealloc) error {
	longest := int64(1<<31-1) &^ (i.clusterSize - 1)
	var end, hint hostOff
	for g, piece := from, guestOff(0); g < to; {
		if g-piece >= guestOff(longest) {
			hint = 0
		}
		if hint == 0 {
			piece = g
		}
		w, err := i.placeFor(ctx, g, min(int64(to-g), longest-int64(g-piece)), hint)
		if err != nil {
			return qerr.Errno(qerr.Of(err), "Allocating clusters failed")
		}
		if err := i.commitTables(ctx); err != nil {
			if w.alloc != nil {
				err = i.settle(ctx, w.alloc, err)
			}
			return qerr.Errno(qerr.Of(err), "Allocating clusters failed")
		}
		if w.alloc != nil {
			if hint != 0 && w.host != hint {
				piece = g
			}
			if err := i.settle(ctx, w.alloc, i.prepareEmpty(ctx, w.alloc)); err != nil {
				return qerr.Errno(qerr.Of(err), "Mapping clusters failed")
			}
		}
		g += guestOff(w.n)
		end = w.host + hostOff(w.n)
		hint = end
		if i.crowded() {
			if err := i.commitLonger(ctx, end, pre); err != nil {
				return err
			}
		}
	}
	if err := i.commitLonger(ctx, end, pre); err != nil { // so that the file's length is known
		return err
	}
	return i.reach(ctx, end, pre)
}

// commitLonger is commit, before which the file is made to hold what the tables are going to point at: whoever is
// interrupted in between leaves no entries for places behind its end.
func (i *image) commitLonger(ctx context.Context, end hostOff, pre formats.Prealloc) error {
	if pre == formats.PreallocMetadata {
		if err := i.reach(ctx, end, pre); err != nil {
			return err
		}
	}
	return i.commit(ctx)
}

// reach makes the file that holds the data at least as long as end.
func (i *image) reach(ctx context.Context, end hostOff, pre formats.Prealloc) error {
	sub := hostOff(1)<<i.subBits - 1
	if end = (end + sub) &^ sub; int64(end) <= i.data.Size() {
		return nil
	}
	if pre == formats.PreallocMetadata {
		pre = formats.PreallocOff
	}
	return i.data.Truncate(ctx, int64(end), pre)
}

// prepareEmpty makes the clusters of an allocation that no data is written to read as zeroes. What its first cluster shows
// before the range, of a backing file, it keeps.
func (i *image) prepareEmpty(ctx context.Context, a *allocation) error {
	a.empty = true
	if !a.virgin && a.fresh && !i.external() {
		if err := i.zeroHost(ctx, a.host, a.n); err != nil {
			return err
		}
	}
	if head := int64(a.req - a.from); head > 0 && !a.headZero {
		return i.copyEdge(ctx, a, a.from, head)
	}
	return nil
}

// preallocateArea gives the clusters of [old, size) one area behind the end of the file, whose space is allocated as pre
// says.
func (i *image) preallocateArea(ctx context.Context, old, size int64, pre formats.Prealloc) error {
	i.mu.Lock()
	start, count, err := i.layArea(ctx, old, size)
	i.mu.Unlock()
	if err == nil {
		err = i.commit(ctx)
	}
	if err != nil {
		return qerr.Errno(qerr.Of(err), "Failed to resize refcount structures")
	}
	i.mu.Lock()
	got, err := i.allocClustersAt(ctx, start, count)
	i.mu.Unlock()
	if err == nil && got < count {
		err = syscall.EIO
	}
	if err != nil {
		return qerr.Errno(qerr.Of(err), "Failed to allocate data clusters")
	}
	n := count << i.clusterBits
	if i.file.Size() > int64(start) { // what lies there is no longer in use; it must not be seen
		err = i.file.Truncate(ctx, int64(start), formats.PreallocOff)
	}
	if err == nil {
		err = i.file.Truncate(ctx, int64(start)+n, pre)
	}
	if err != nil {
		i.mu.Lock()
		i.freeNow(ctx, start, n)
		i.mu.Unlock()
		return qerr.Prepend(err, "Failed to resize underlying file: ")
	}
	return i.linkArea(ctx, guestOff(i.clusterStart(old)), start, n)
}

// layArea makes refcount structures for the clusters of [old, size) behind the last one in use, so that none has to be
// made while they are linked, and returns where they are to lie. mu is held.
func (i *image) layArea(ctx context.Context, old, size int64) (hostOff, int64, error) {
	last, err := i.lastCluster(ctx, i.file.Size())
	if err != nil {
		return 0, 0, err
	}
	count := (i.roundUp(size) - i.clusterStart(old)) >> i.clusterBits
	tables := (count+1<<i.l2Bits-1)>>i.l2Bits + 1
	start, err := i.refcountArea(ctx, uint64(last+1), uint64(count+tables), true, 0, 0)
	return start, count, err
}

// linkArea links n bytes of clusters at host to the guest's from g on. A first cluster that has data keeps it.
func (i *image) linkArea(ctx context.Context, g guestOff, host hostOff, n int64) error {
	part := i.clusterSize << i.sliceBits
	hides := i.backing != nil && i.backing.Size() > i.Size() // what is longer must not be seen through subclusters
	for n > 0 {
		k := min(n, part-int64(g)&(part-1))
		inside := i.inCluster(i.Size()) // of the cluster at g that the disk has already
		if int64(g) >= i.Size() {
			inside = 0
		}
		packed := false
		if inside > 0 && i.extended() {
			i.mu.Lock()
			old, _, err := i.entryAt(ctx, g)
			i.mu.Unlock()
			if err != nil {
				return err
			}
			packed = i.clusterKind(old) == compressed
		}
		if packed {
			k = i.clusterSize
		}
		a := &allocation{start: g, n: k, host: host, fresh: true, empty: true}
		i.mu.Lock()
		i.pending = append(i.pending, a)
		i.mu.Unlock()
		var err error
		if inside > 0 {
			// The subclusters stay what they are, as in QEMU, unless none is known: the cluster was a compressed one.
			a.from, a.to, a.empty = g, g+guestOff(inside), !packed
			err = i.copyEdge(ctx, a, g, inside)
		}
		if hides {
			a.from, a.to, a.empty = g, g+guestOff(k), false
		}
		if err := i.settle(ctx, a, err); err != nil {
			return qerr.Errno(qerr.Of(err), "Failed to update L2 tables")
		}
		g, host, n = g+guestOff(k), host+hostOff(k), n-k
	}
	return nil
}
