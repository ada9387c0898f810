package qcow2

import (
	"context"
	"encoding/binary"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

// The order of writes of snapshot operations. Refcounts in the file are never lower than the number of references, and
// a COPIED flag is never set on what really is referred to twice, so that a write after a crash harms no snapshot:
//
//	create: refcounts; flags of the disk's L2 tables cleared; L1 table's; header names the table with the new entry
//	apply:  refcounts; flags of the snapshot's L2 tables cleared; active L1 table, flags clear; then the former tree's
//	        refcounts are lowered
//	delete: header names the table without the entry; refcounts lowered; flags of the disk's tables set
//
// with a flush at each semicolon. Between the first steps of create, and the last two of delete, flags and refcounts
// differ where a crash leaves a leak: check tells of that, nothing is hurt by it.

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
	var err error
	s.l1Offset, err = i.allocClusters(ctx, s.l1Size*8)
	i.mu.Unlock()
	if err != nil {
		return err
	}
	if err = i.file.WriteAt(ctx, encodeWords(i.l1), int64(s.l1Offset), 0); err == nil {
		err = i.countTree(ctx, i.l1, 1, causeNever)
	}
	if err != nil {
		i.giveBack(ctx, s.l1Offset, s.l1Size*8)
		return err
	}
	if err = i.clearCopied(ctx); err == nil {
		err = i.storeSnapshots(ctx, i.snapshots.with(s))
	}
	if err != nil {
		// Without flags everything is copied before it is changed, so that lower refcounts do no harm.
		_ = i.countTree(ctx, i.l1, -1, causeNever)
		i.giveBack(ctx, s.l1Offset, s.l1Size*8)
		return err
	}
	return i.dropVMState(ctx, int64(s.VMStateSize))
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
	raw := t.encode()
	if len(raw) > maxSnapshotTable {
		return syscall.EFBIG
	}
	t.size = int64(len(raw))
	i.mu.Lock()
	off, err := hostOff(i.nextFree<<i.clusterBits), error(nil) // what QEMU has for no clusters at all
	if t.size > 0 {
		off, err = i.allocClusters(ctx, t.size)
	}
	i.mu.Unlock()
	if err != nil {
		return err
	}
	if len(raw) > 0 {
		err = i.file.WriteAt(ctx, raw, int64(off), 0)
	}
	if err == nil {
		err = i.commitAll(ctx)
	}
	if err == nil {
		head := binary.BigEndian.AppendUint32(nil, uint32(len(t.list)))
		err = i.file.WriteAt(ctx, binary.BigEndian.AppendUint64(head, uint64(off)), atSnapshots, 0)
	}
	if err == nil {
		err = i.file.Flush(ctx)
	}
	if err != nil {
		i.giveBack(ctx, off, t.size)
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.snapshots.size > 0 {
		i.release(hostOff(i.hdr.snapshotsOffset), i.snapshots.size, causeSnapshot)
	}
	i.hdr.snapshots, i.hdr.snapshotsOffset = uint32(len(t.list)), uint64(off)
	i.snapshots = t
	i.forgetMeta()
	return nil
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
	if err := i.replaceL1(ctx, l1, s.DiskSize); err != nil {
		return undo(err)
	}
	// If this fails the next commit tries again, and the former tree leaks.
	if err := i.commitAll(ctx); err != nil {
		return err
	}
	if err := i.countTree(ctx, old, -1, causeSnapshot); err != nil {
		return err
	}
	return i.settleFlags(ctx, append([]uint64(nil), old...))
}

// settleFlags sets the COPIED flags in what is left of a tree that the disk, or a snapshot, has given up: tables that are a
// single snapshot's now. Only the active tables' flags have to be right (specification, "Cluster mapping"); these are
// stored so that the file is as QEMU leaves it.
func (i *image) settleFlags(ctx context.Context, l1 []uint64) error {
	if err := i.commitAll(ctx); err != nil { // a flag must not be there before the refcount that it speaks of
		return err
	}
	i.mu.Lock()
	for k, e := range l1 {
		n, err := i.refcount(ctx, e&entryOffset>>i.clusterBits)
		if err != nil {
			i.mu.Unlock()
			return err
		}
		if n == 0 {
			l1[k] = 0
		}
	}
	i.mu.Unlock()
	return i.markCopied(ctx, l1, false)
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

// replaceL1 makes l1 the active table and size the disk's; the next commit stores them. If the size changes, or the place
// is too small, the table gets a new place, so that a single write of the header changes everything at once.
func (i *image) replaceL1(ctx context.Context, l1 []uint64, size int64) error {
	n := max(int64(len(i.l1)), int64(len(l1)), i.l1SizeFor(size))
	for int64(len(l1)) < n {
		l1 = append(l1, 0)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if old := int64(len(i.l1)); n > old || size != i.Size() {
		off, err := i.allocClusters(ctx, n*8)
		if err != nil {
			return err
		}
		if old > 0 {
			i.release(hostOff(i.hdr.l1Offset), old*8, causeOther)
		}
		i.hdr.l1Offset, i.hdr.l1Size, i.hdr.size = uint64(off), uint32(n), uint64(size)
		i.l1Moved = true
		i.size.Store(size)
		i.vmStateAt = guestOff(i.l1SizeFor(size) << (i.clusterBits + i.l2Bits))
		i.bitmaps.resize(size)
	}
	i.l1 = l1
	for k := range l1 {
		i.l1Dirty[k] = struct{}{}
	}
	i.l2.DropAll()
	return nil
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
	if err := i.storeSnapshots(ctx, snapshotTable{list: append(list, i.snapshots.list[k+1:]...)}); err != nil {
		return qerr.Errno(qerr.Of(err), "Failed to remove snapshot from snapshot list")
	}
	if err := i.countTree(ctx, l1, -1, causeSnapshot); err != nil {
		return qerr.Errno(qerr.Of(err), "Failed to free the cluster and L1 table")
	}
	i.mu.Lock()
	err := i.addRefcounts(ctx, s.l1Offset, s.l1Size*8, -1, causeSnapshot) // of nothing for a disk of no size
	i.mu.Unlock()
	if err != nil {
		return qerr.Errno(qerr.Of(err), "Failed to free the cluster and L1 table")
	}
	if err = i.settleFlags(ctx, l1); err == nil {
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
