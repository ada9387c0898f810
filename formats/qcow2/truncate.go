package qcow2

import (
	"context"
	"encoding/binary"
	"errors"
	"sync/atomic"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

// Truncate changes the virtual size. It runs exclusively.
func (i *image) Truncate(ctx context.Context, size int64, pre formats.Prealloc) error {
	if err := i.usable(); err != nil {
		return err
	}
	if size%512 != 0 {
		return qerr.New(syscall.EINVAL, "The new size must be a multiple of 512")
	}
	if err := i.mayResize(); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	if size < i.Size() {
		if pre != formats.PreallocOff {
			return qerr.New(syscall.EINVAL, "Preallocation can't be used for shrinking an image")
		}
		return i.shrink(ctx, size)
	}
	if err := i.clearTail(ctx, size); err != nil {
		return err
	}
	return i.grow(ctx, size, pre)
}

// mayResize reports what stands against another size.
func (i *image) mayResize() error {
	if i.hdr.snapshots > 0 && i.hdr.version < 3 {
		return qerr.New(syscall.ENOTSUP, "Can't resize a v2 image which has snapshots")
	}
	return i.bitmapsMayResize()
}

func (i *image) l1SizeFor(size int64) int64 {
	shift := i.clusterBits + i.l2Bits
	return int64((uint64(size) + 1<<shift - 1) >> shift)
}

// grow makes the disk larger: first all tables, then the size.
func (i *image) grow(ctx context.Context, size int64, pre formats.Prealloc) error {
	if err := i.growL1(ctx, i.l1SizeFor(size)); err != nil {
		return qerr.Errno(qerr.Of(err), "Failed to grow the L1 table")
	}
	if err := i.commit(ctx); err != nil {
		return qerr.Errno(qerr.Of(err), "Failed to grow the L1 table")
	}
	if i.rawExternal() && pre == formats.PreallocOff {
		pre = formats.PreallocMetadata // the tables map the data file one to one
	}
	old := i.Size()
	var err error
	switch {
	case pre == formats.PreallocOff && i.external():
		err = i.data.Truncate(ctx, size, pre)
	case pre == formats.PreallocOff:
		err = i.hideBacking(ctx, old, size)
	case pre == formats.PreallocMetadata || i.external():
		err = i.preallocate(ctx, guestOff(old), guestOff(size), pre)
	default:
		err = i.preallocateArea(ctx, old, size, pre)
	}
	if err != nil {
		return err
	}
	if err := i.commit(ctx); err != nil {
		return qerr.Errno(qerr.Of(err), "Failed to flush the preallocated area to disk")
	}
	return i.setSize(ctx, size)
}

// hideBacking makes [old, size) zeroes as far as a longer backing file would show there, before the size lets it.
func (i *image) hideBacking(ctx context.Context, old, size int64) error {
	if i.creating || i.backing == nil {
		return nil
	}
	sub := int64(1) << i.subBits
	end := (min(size, i.backing.Size()) + sub - 1) &^ (sub - 1)
	first := min((old+sub-1)&^(sub-1), end)
	for from, to := old, first; from < end; from, to = to, min(to+maxJoined, end) {
		if to <= from {
			continue
		}
		if i.hdr.version >= 3 {
			epoch := i.requests.enter()
			e := i.zero(ctx, guestOff(from), to-from, 0)
			i.requests.leave(epoch)
			if e == nil {
				continue
			} else if !errors.Is(e, syscall.ENOTSUP) {
				return e
			}
		}
		if e := i.write(ctx, make([]byte, min(to, size)-from), guestOff(from)); e != nil {
			return e
		}
	}
	return nil
}

// clearTail makes what lies behind the present end in its cluster zeroes, if a larger size is to show it.
func (i *image) clearTail(ctx context.Context, size int64) error {
	old := i.Size()
	n := min(i.roundUp(old), size) - old
	if n <= 0 || i.external() && i.cipher == nil { // the data file ends there, and grows by zeroes
		return nil
	}
	for at := guestOff(old); n > 0; {
		e, err := i.lookup(ctx, at, n, false)
		if err != nil {
			return err
		}
		if e.kind == compressed {
			e.n = n
		}
		if e.kind == normal || e.kind == compressed {
			if err := i.clearStale(ctx, at, e.n); err != nil {
				return err
			}
		}
		at, n = at+guestOff(e.n), n-e.n
	}
	return nil
}

// clearStale makes what is stored for n bytes at g zeroes, if it is anything else.
func (i *image) clearStale(ctx context.Context, g guestOff, n int64) error {
	p := make([]byte, n)
	if err := i.readGuest(ctx, p, g, false); err != nil {
		return err
	}
	for _, b := range p {
		if b != 0 {
			clear(p)
			return i.write(ctx, p, g)
		}
	}
	return nil
}

// setSize writes the size to the header, durably, and makes it the size.
func (i *image) setSize(ctx context.Context, size int64) error {
	raw := binary.BigEndian.AppendUint64(nil, uint64(size))
	err := i.file.WriteAt(ctx, raw, atSize, 0)
	if err == nil && !i.creating {
		err = i.file.Flush(ctx)
	}
	if err != nil {
		return qerr.Errno(qerr.Of(err), "Failed to update the image size")
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.hdr.size = uint64(size)
	i.size.Store(size)
	i.vmStateAt = guestOff(i.l1SizeFor(size) << (i.clusterBits + i.l2Bits))
	i.bitmaps.resize(size)
	return nil
}

// growL1 makes the L1 table at least n entries long; it moves.
func (i *image) growL1(ctx context.Context, n int64) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if n <= int64(len(i.l1)) {
		return nil
	}
	if n > maxL1Size/8 {
		return syscall.EFBIG
	}
	i.events.Raise(formats.EventL1GrowAllocTable)
	off, err := i.allocClusters(ctx, n*8)
	if err != nil {
		return err
	}
	l1 := make([]uint64, n)
	copy(l1, i.l1)
	was, wasSize := hostOff(i.hdr.l1Offset), int64(len(i.l1))*8
	i.l1, i.l1Moved = l1, true
	i.hdr.l1Offset, i.hdr.l1Size = uint64(off), uint32(n)
	i.noteMeta(off, n*8, activeL1)
	if wasSize > 0 {
		i.release(was, wasSize, causeOther)
	}
	return nil
}

// shrink makes the disk smaller: first the size, so that no crash leaves a disk that has lost data within its size.
func (i *image) shrink(ctx context.Context, size int64) error {
	old := i.Size()
	if err := i.commit(ctx); err != nil {
		return err
	}
	if err := i.setSize(ctx, size); err != nil {
		return err
	}
	if err := i.dropBeyond(ctx, i.roundUp(size), i.roundUp(old)); err != nil {
		return qerr.Errno(qerr.Of(err), "Failed to discard cropped clusters")
	}
	// The first commit frees the clusters, the second one brings their refcounts to the file.
	for range 2 {
		if err := i.commit(ctx); err != nil {
			return qerr.Errno(qerr.Of(err), "Failed to discard cropped clusters")
		}
	}
	i.mu.Lock()
	err := i.shrinkRefTable(ctx)
	i.mu.Unlock()
	for k := 0; k < 2 && err == nil; k++ {
		err = i.commit(ctx)
	}
	if err != nil {
		return qerr.Errno(qerr.Of(err), "Failed to discard unused refblocks")
	}
	if err := i.cutFile(ctx); err != nil {
		return err
	}
	if i.external() {
		return i.data.Truncate(ctx, size, formats.PreallocOff)
	}
	return nil
}

// dropBeyond gives up the clusters of [from, to) and all L2 tables behind.
func (i *image) dropBeyond(ctx context.Context, from, to int64) error {
	perTable := int64(1) << (i.clusterBits + i.l2Bits)
	keep := i.l1SizeFor(from)
	if end := min(to, keep*perTable); from < end {
		if err := i.discardRange(ctx, guestOff(from), end-from, causeAlways, true); err != nil {
			return err
		}
	}
	i.events.Raise(formats.EventL1ShrinkFreeL2Clusters)
	i.mu.Lock()
	defer i.mu.Unlock()
	for k := keep; k < int64(len(i.l1)); k++ {
		if err := i.dropTable(ctx, int(k)); err != nil {
			return err
		}
	}
	return nil
}

// dropTable gives up an L2 table and what it refers to. mu is held.
func (i *image) dropTable(ctx context.Context, idx int) error {
	g := guestOff(int64(idx) << (i.clusterBits + i.l2Bits))
	table, err := i.l2TableOf(g)
	if err != nil || table == 0 {
		return err
	}
	for k := range int64(1) << i.l2Bits {
		entry, _, err := i.entryAt(ctx, g+guestOff(k<<i.clusterBits))
		if err != nil {
			return err
		}
		i.releaseEntry(entry, causeAlways)
	}
	atomic.StoreUint64(&i.l1[idx], 0)
	i.l1Dirty[idx] = struct{}{}
	i.release(table, i.clusterSize, causeAlways)
	return nil
}

// shrinkRefTable gives up refcount blocks that count nothing, or nothing but themselves. mu is held.
func (i *image) shrinkRefTable(ctx context.Context) error {
	for k := range i.refTable {
		first := uint64(k) << i.refBlockBits
		t, err := i.refBlockOf(ctx, first)
		if err != nil {
			return err
		}
		if t == nil {
			continue
		}
		own := uint64(t.Off()) >> i.clusterBits
		self := own>>i.refBlockBits == uint64(k)
		if i.countsOthers(t.Get, t.Len(), int(own&(1<<i.refBlockBits-1)), self) {
			continue
		}
		off := hostOff(t.Off())
		i.refTable[k] = 0
		i.refTableDirty[k] = struct{}{}
		if !self {
			i.release(off, i.clusterSize, causeAlways)
			continue
		}
		i.refBlocks.Drop(int64(off))
		delete(i.metaClusters, own)
		i.nextFree = min(i.nextFree, own)
	}
	return nil
}

// countsOthers reports whether a refcount block has a refcount that is not 0, its own aside.
func (i *image) countsOthers(word func(int) uint64, words, own int, self bool) bool {
	at, shift := i.refPlace(own)
	for w := range words {
		v := word(w)
		if self && w == at {
			v &^= i.refMask() << shift
		}
		if v != 0 {
			return true
		}
	}
	return false
}

// cutFile ends the file behind the last cluster that is in use.
func (i *image) cutFile(ctx context.Context) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	last, err := i.lastCluster(ctx, i.file.Size())
	if err != nil {
		return qerr.Errno(qerr.Of(err), "Failed to find the last cluster")
	}
	if end := (last + 1) << i.clusterBits; end < i.file.Size() {
		if err := i.file.Truncate(ctx, end, formats.PreallocOff); err != nil {
			i.env.Warn("Failed to truncate the tail of the image: %s", err)
		} else if i.file.Limits().ZeroInit {
			i.virgin = min(i.virgin, hostOff(end))
		}
	}
	return nil
}

// lastCluster is the last cluster in use within size bytes of the file. mu is held.
func (i *image) lastCluster(ctx context.Context, size int64) (int64, error) {
	for c := i.clustersFor(size) - 1; c >= 0; c-- {
		ref, err := i.refcount(ctx, uint64(c))
		if err != nil {
			return 0, err
		}
		if ref != 0 {
			return c, nil
		}
	}
	return 0, i.signalCorruption(true, "There are no references in the refcount table.")
}
