package qcow2

import (
	"context"
	"encoding/binary"
	"errors"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

// The order of writes of snapshot operations. Refcounts in the file are never lower than the number of references, and
// COPIED flags agree with them after a crash at any point:
//
//	create, delete: copies of all metadata that changes; header names the copies and the new table of snapshots; metadata
//	                in place; header names that (switchover.go)
//	apply:          refcounts; flags of the snapshot's L2 tables cleared; active L1 table, flags clear, with the size;
//	                then the former tree's refcounts are lowered
//
// with a flush at each semicolon. Where there is no room for copies, on a full disk for instance, create and delete do
// without:
//
//	create: refcounts; flags of the disk's L2 tables cleared; L1 table's; header names the table with the new entry
//	delete: header names the table without the entry; refcounts lowered; flags of the disk's tables set
//
// A COPIED flag is not set then, either, on what is referred to twice, so that a write after a crash harms no snapshot; but
// check may tell of flags that differ from the refcounts.

// mayChangeSnapshots reports what stands against any change.
func (i *image) mayChangeSnapshots() error {
	if err := i.usable(); err != nil {
		return err
	}
	if i.external() {
		return syscall.ENOTSUP
	}
	return nil
}

// settled brings the file up to date, does f with the caches of L2 tables emptied afterwards, because f may change tables
// in the file.
func (i *image) settled(ctx context.Context, f func(ctx context.Context) error) error {
	ctx = context.WithoutCancel(ctx)
	for range 2 { // the second one stores the refcounts of what the first one has freed
		if err := i.commitAll(ctx); err != nil {
			return err
		}
	}
	err := f(ctx)
	i.mu.Lock()
	i.l2.DropAll()
	i.clusters.forget()
	i.forgetMeta()
	i.mu.Unlock()
	if err != nil {
		return err
	}
	return i.commitAll(ctx)
}

// CreateSnapshot takes a snapshot of the disk. The disk's size is the present one, whatever s says.
func (i *image) CreateSnapshot(ctx context.Context, s formats.Snapshot) (formats.Snapshot, error) {
	if err := i.mayChangeSnapshots(); err != nil {
		return s, err
	}
	if len(i.snapshots.list) >= maxSnapshots || len(s.ID) > 1<<16-1 || len(s.Name) > 1<<16-1 {
		return s, syscall.EFBIG
	}
	if s.ID == "" {
		s.ID = i.snapshots.newID()
	}
	if i.snapshots.find(s.ID, "") >= 0 {
		return s, syscall.EEXIST
	}
	s.DiskSize = i.Size()
	return s, i.settled(ctx, func(ctx context.Context) error { return i.create(ctx, &snapshot{Snapshot: s}) })
}

func (i *image) create(ctx context.Context, s *snapshot) error {
	s.l1Size, s.extraLen = int64(len(i.l1)), snapshotExtraLen
	if s.l1Size == 0 { // a disk of no size
		return i.storeSnapshots(ctx, i.snapshots.with(s))
	}
	i.mu.Lock()
	off, err := i.allocClusters(ctx, s.l1Size*8)
	i.mu.Unlock()
	if err != nil {
		return err
	}
	s.l1Offset = off
	if err := i.file.WriteAt(ctx, encodeWords(i.l1), int64(s.l1Offset), 0); err != nil {
		i.giveBack(ctx, s.l1Offset, s.l1Size*8)
		return err
	}
	t := i.snapshots.with(s)
	at, err := i.placeSnapshots(ctx, &t)
	if err != nil {
		i.giveBack(ctx, s.l1Offset, s.l1Size*8)
		return err
	}
	err = i.switchTo(ctx, t, at, true, func(delta int64) error { return i.countTree(ctx, i.l1, delta, causeNever) })
	if errors.Is(err, errNoArea) {
		err = i.createInPlace(ctx, t, at)
	}
	if err != nil {
		i.giveBack(ctx, at, t.size)
		i.giveBack(ctx, s.l1Offset, s.l1Size*8)
		return err
	}
	return i.dropVMState(ctx, int64(s.VMStateSize))
}

// createInPlace makes t, which has one more snapshot, valid without copies of the metadata.
func (i *image) createInPlace(ctx context.Context, t snapshotTable, at hostOff) error {
	err := i.countTree(ctx, i.l1, 1, causeNever)
	if err != nil {
		return err
	}
	if err = i.clearCopied(ctx); err == nil {
		err = i.nameSnapshots(ctx, t, at)
	}
	if err != nil {
		// Without flags everything is copied before it is changed, so that lower refcounts do no harm.
		_ = i.countTree(ctx, i.l1, -1, causeNever)
	}
	return err
}

// with is the table with one more entry.
func (t *snapshotTable) with(s *snapshot) snapshotTable {
	return snapshotTable{list: append(t.list[:len(t.list):len(t.list)], s)}
}

// giveBack frees clusters that nothing has referred to yet.
func (i *image) giveBack(ctx context.Context, off hostOff, n int64) {
	if n == 0 {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.freeNow(ctx, off, n)
}

// clearCopied stores the refcounts, then takes all COPIED flags away from the active tables.
func (i *image) clearCopied(ctx context.Context) error {
	if err := i.commitAll(ctx); err != nil {
		return err
	}
	if err := i.markCopied(ctx, i.l1, true); err != nil {
		return err
	}
	i.l1Changed()
	return i.commitAll(ctx)
}

// l1Changed says that the whole active L1 table must be written.
func (i *image) l1Changed() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for k := range i.l1 {
		i.l1Dirty[k] = struct{}{}
	}
}

// storeSnapshots writes a table of snapshots to a new place and lets the header name it.
func (i *image) storeSnapshots(ctx context.Context, t snapshotTable) error {
	at, err := i.placeSnapshots(ctx, &t)
	if err != nil {
		return err
	}
	if err := i.nameSnapshots(ctx, t, at); err != nil {
		i.giveBack(ctx, at, t.size)
		return err
	}
	return nil
}

// placeSnapshots writes a table of snapshots to a new place.
func (i *image) placeSnapshots(ctx context.Context, t *snapshotTable) (hostOff, error) {
	raw := t.encode()
	if len(raw) > maxSnapshotTable {
		return 0, syscall.EFBIG
	}
	t.size = int64(len(raw))
	i.mu.Lock()
	off, err := hostOff(i.nextFree<<i.clusterBits), error(nil) // what QEMU has for no clusters at all
	if t.size > 0 {
		off, err = i.allocClusters(ctx, t.size)
	}
	i.mu.Unlock()
	if err != nil || t.size == 0 {
		return off, err
	}
	if err := i.file.WriteAt(ctx, raw, int64(off), 0); err != nil {
		i.giveBack(ctx, off, t.size)
		return 0, err
	}
	return off, nil
}

// nameSnapshots lets the header name a table of snapshots, after everything else is in the file.
func (i *image) nameSnapshots(ctx context.Context, t snapshotTable, at hostOff) error {
	err := i.commitAll(ctx)
	if err == nil {
		head := binary.BigEndian.AppendUint32(nil, uint32(len(t.list)))
		err = i.file.WriteAt(ctx, binary.BigEndian.AppendUint64(head, uint64(at)), atSnapshots, 0)
	}
	if err == nil {
		err = i.file.Flush(ctx)
	}
	if err == nil {
		i.tookSnapshots(t, at)
	}
	return err
}

// dropVMState takes n bytes of VM state out of the active tables: the snapshot has it, and the next one would only have
// to count it again.
func (i *image) dropVMState(ctx context.Context, n int64) error {
	if n <= 0 {
		return nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.l2.DropAll() // the flags have changed in the file
	end := min(i.vmStateAt+guestOff(i.roundUp(n)), guestOff(int64(len(i.l1))<<(i.clusterBits+i.l2Bits)))
	for g := i.vmStateAt; g < end; g += guestOff(i.clusterSize) {
		entry, bitmap, err := i.entryAt(ctx, g)
		if err != nil {
			return err
		}
		if entry == 0 && bitmap == 0 {
			continue
		}
		table, err := i.ownTable(ctx, g)
		if err != nil {
			return err
		}
		if err := i.setEntry(ctx, table, g, 0, 0); err != nil {
			return err
		}
		i.releaseEntry(entry, causeNever)
	}
	return nil
}

// ApplySnapshot makes the disk what it was when the snapshot was taken, its size as well.
func (i *image) ApplySnapshot(ctx context.Context, idOrName string) error {
	if err := i.mayChangeSnapshots(); err != nil {
		return err
	}
	k := i.snapshots.find(idOrName, "")
	if k < 0 {
		k = i.snapshots.find("", idOrName)
	}
	if k < 0 {
		return syscall.ENOENT
	}
	s := i.snapshots.list[k]
	l1, err := i.snapshotL1(ctx, s)
	if err != nil {
		i.env.Report("qemu-img: %s", err)
		return syscall.Errno(qerr.Of(err))
	}
	if s.DiskSize != i.Size() {
		if err := i.mayTakeSize(s); err != nil {
			return err
		}
	}
	return i.settled(ctx, func(ctx context.Context) error { return i.apply(ctx, s, l1) })
}

// mayTakeSize reports what stands against giving the disk the size that it had at a snapshot.
func (i *image) mayTakeSize(s *snapshot) error {
	switch perTable := int64(1) << (i.clusterBits + i.l2Bits); {
	case i.hdr.version < 3:
		return qerr.New(syscall.ENOTSUP, "Can't resize a v2 image which has snapshots")
	case s.DiskSize < 0 || s.DiskSize%512 != 0 || s.DiskSize/perTable > maxL1Size/8:
		return qerr.New(syscall.EINVAL, "the snapshot's disk size is invalid")
	}
	return nil
}

func (i *image) apply(ctx context.Context, s *snapshot, l1 []uint64) error {
	if err := i.countTree(ctx, l1, 1, causeNever); err != nil {
		return err
	}
	undo := func(err error) error {
		_ = i.countTree(ctx, l1, -1, causeNever)
		return err
	}
	if err := i.commitAll(ctx); err != nil {
		return undo(err)
	}
	was := l1
	l1 = append([]uint64(nil), l1...)
	if err := i.markCopied(ctx, l1, true); err != nil {
		return undo(err)
	}
	if err := i.storeFlags(ctx, int64(s.l1Offset), was, l1); err != nil {
		return undo(err)
	}
	old := i.l1
	oneSector, err := i.replaceL1(ctx, l1, s.DiskSize)
	if err != nil {
		return undo(err)
	}
	// If this fails the next commit tries again, and the former tree leaks.
	if oneSector {
		err = i.commitAll(ctx)
	} else {
		err = i.storeL1(ctx)
	}
	if err != nil {
		return err
	}
	return i.countTree(ctx, old, -1, causeSnapshot)
}

// storeFlags writes an L1 table in which flags have changed.
func (i *image) storeFlags(ctx context.Context, off int64, was, now []uint64) error {
	for k := range now {
		if now[k] != was[k] {
			return i.file.WriteAt(ctx, encodeWords(now), off, 0)
		}
	}
	return nil
}

// replaceL1 makes l1 the active table and size the disk's; the next commit stores them. A table that has not enough room
// gets another place. atOnce says that a commit changes one sector only.
func (i *image) replaceL1(ctx context.Context, l1 []uint64, size int64) (atOnce bool, err error) {
	n := max(int64(len(i.l1)), int64(len(l1)), i.l1SizeFor(size))
	for int64(len(l1)) < n {
		l1 = append(l1, 0)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	old := int64(len(i.l1))
	if atOnce = n > old; atOnce {
		off, err := i.allocClusters(ctx, n*8)
		if err != nil {
			return false, err
		}
		if old > 0 {
			i.release(hostOff(i.hdr.l1Offset), old*8, causeOther)
		}
		i.hdr.l1Offset, i.hdr.l1Size, i.l1Moved = uint64(off), uint32(n), true // with the size
	} else {
		clear(i.l1Dirty)
		for k := range l1 {
			if l1[k] != i.l1[k] {
				i.l1Dirty[k/(writeUnit/8)*(writeUnit/8)] = struct{}{}
			}
		}
		atOnce = size == i.Size() && len(i.l1Dirty) <= 1
	}
	if size != i.Size() {
		i.hdr.size = uint64(size)
		i.size.Store(size)
		i.vmStateAt = guestOff(i.l1SizeFor(size) << (i.clusterBits + i.l2Bits))
		i.bitmaps.resize(size)
	}
	i.l1 = l1
	i.l2.DropAll()
	return atOnce, nil
}

// DeleteSnapshot removes a snapshot; one with an open view is busy.
func (i *image) DeleteSnapshot(ctx context.Context, id, name string) error {
	if err := i.mayChangeSnapshots(); err != nil {
		return err
	}
	k := i.snapshots.find(id, name)
	if k < 0 {
		return qerr.New(syscall.ENOENT, "Can't find the snapshot")
	}
	s := i.snapshots.list[k]
	i.mu.Lock()
	views := s.views
	i.mu.Unlock()
	if views > 0 {
		return qerr.New(syscall.EBUSY, "the snapshot is in use")
	}
	l1, err := i.snapshotL1(ctx, s)
	if err != nil {
		return err
	}
	return i.settled(ctx, func(ctx context.Context) error { return i.remove(ctx, k, l1) })
}

func (i *image) remove(ctx context.Context, k int, l1 []uint64) error {
	s := i.snapshots.list[k]
	list := append([]*snapshot(nil), i.snapshots.list[:k]...)
	t := snapshotTable{list: append(list, i.snapshots.list[k+1:]...)}
	at, err := i.placeSnapshots(ctx, &t)
	if err != nil {
		return qerr.Errno(qerr.Of(err), "Failed to remove snapshot from snapshot list")
	}
	count := func(delta int64) error {
		err := i.countTree(ctx, l1, -delta, causeSnapshot)
		if err == nil {
			i.mu.Lock()
			err = i.addRefcounts(ctx, s.l1Offset, s.l1Size*8, -delta, causeSnapshot) // of nothing for a disk of no size
			i.mu.Unlock()
			if err != nil {
				_ = i.countTree(ctx, l1, delta, causeNever)
			}
		}
		if err != nil {
			return qerr.Errno(qerr.Of(err), "Failed to free the cluster and L1 table")
		}
		return nil
	}
	err = i.switchTo(ctx, t, at, false, count)
	if errors.Is(err, errNoArea) {
		return i.removeInPlace(ctx, t, at, count)
	}
	return err
}

// removeInPlace makes t, which has one snapshot less, valid without copies of the metadata.
func (i *image) removeInPlace(ctx context.Context, t snapshotTable, at hostOff, count func(delta int64) error) error {
	if err := i.nameSnapshots(ctx, t, at); err != nil {
		i.giveBack(ctx, at, t.size)
		return qerr.Errno(qerr.Of(err), "Failed to remove snapshot from snapshot list")
	}
	err := count(1)
	if err != nil {
		return err
	}
	if err = i.commitAll(ctx); err == nil {
		was := append([]uint64(nil), i.l1...)
		if err = i.markCopied(ctx, i.l1, false); err == nil && !equalWords(was, i.l1) {
			i.l1Changed()
		}
	}
	if err != nil {
		return qerr.Errno(qerr.Of(err), "Failed to update snapshot status in disk")
	}
	return nil
}

func equalWords(a, b []uint64) bool {
	for k := range a {
		if a[k] != b[k] {
			return false
		}
	}
	return len(a) == len(b)
}

// RenameSnapshot gives a snapshot another name.
func (i *image) RenameSnapshot(ctx context.Context, id, name, to string) error {
	if err := i.mayChangeSnapshots(); err != nil {
		return err
	}
	k := i.snapshots.find(id, name)
	if k < 0 {
		return qerr.New(syscall.ENOENT, "Can't find the snapshot")
	}
	if to == "" || len(to) > 1<<16-1 {
		return qerr.New(syscall.EINVAL, "invalid name of a snapshot")
	}
	return i.settled(ctx, func(ctx context.Context) error {
		renamed := *i.snapshots.list[k]
		renamed.Name = to
		t := snapshotTable{list: append([]*snapshot(nil), i.snapshots.list...)}
		t.list[k] = &renamed
		old := i.snapshots.list[k]
		if err := i.storeSnapshots(ctx, t); err != nil {
			return err
		}
		old.Name = to
		i.snapshots.list[k] = old // open views count there
		return nil
	})
}
