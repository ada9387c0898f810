package qcow2

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"

	"platter/formats"
	"platter/formats/internal/tablecache"
)

// A snapshot that comes or goes changes the refcounts of the whole disk and all its COPIED flags. The two lie in different
// places of the file and must agree, so no order of writes in place survives a crash. What changes is therefore written to
// an area behind the end of the file first: copies of the L2 tables, of the refcount blocks, and of the tables that name
// them. One write of the header, within its first sector, makes the copies and the new table of snapshots valid together.
// Then the same is done in place, where nothing refers to it any more, the header goes back there, and the area is cut
// off. Only the copies of the refcounts count the area: in place nothing has ever been taken for it.

// errNoArea says that there is no room for copies; nothing was changed.
var errNoArea = errors.New("no room for copies of the metadata")

// area is the place of copies.
type area struct {
	*image
	end   int64   // of the file before, in bytes
	off   hostOff // where the area begins …
	next  hostOff // … and goes on
	list  []patch // copies that are not yet written
	bytes int64   // in list
}

// newArea finds the place for copies.
func (i *image) newArea(ctx context.Context) (*area, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	end, blocks := i.endOfFile(), int64(0)
	for idx := range i.refTable { // clusters may be in use that are not in the file yet
		t, err := i.refBlockOf(ctx, uint64(idx)<<i.refBlockBits)
		if err != nil {
			return nil, errNoArea
		}
		if t == nil {
			continue
		}
		if blocks++; blocks*i.clusterSize > maxDirtyRefs {
			return nil, errNoArea
		}
		if k := i.lastUsed(t); k >= 0 {
			end = max(end, (int64(idx)<<i.refBlockBits+int64(k))<<i.clusterBits+1)
		}
	}
	off := hostOff(i.roundUp(end))
	return &area{image: i, end: i.endOfFile(), off: off, next: off}, nil
}

// lastUsed is the number of the last refcount of a block that is not 0; -1 if there is none.
func (i *image) lastUsed(t *tablecache.Table) int {
	perWord := 64 >> i.refOrder
	for w := t.Len() - 1; w >= 0; w-- {
		if t.Get(w) == 0 {
			continue
		}
		for k := (w+1)*perWord - 1; ; k-- {
			if i.refcountIn(t, k) != 0 {
				return k
			}
		}
	}
	return -1
}

// endOfFile is the size of the file to the byte; what it says as a child is rounded up to sectors.
func (i *image) endOfFile() int64 {
	if u, ok := i.file.(formats.Unwrapper); ok {
		return u.Unwrap().Size()
	}
	return i.file.Size()
}

// put adds a copy to the area and returns where it is.
func (a *area) put(ctx context.Context, raw []byte) (hostOff, error) {
	at := a.next
	a.next += hostOff(a.roundUp(int64(len(raw))))
	a.list = append(a.list, patch{off: int64(at), data: raw})
	if a.bytes += int64(len(raw)); a.bytes < maxPatches {
		return at, nil
	}
	return at, a.write(ctx)
}

func (a *area) write(ctx context.Context) error {
	err := a.writePatches(ctx, a.list)
	a.list, a.bytes = nil, 0
	return err
}

// tables writes copies of the active L2 tables whose COPIED flags change, and returns the L1 table that names them. Its
// flags fit the refcounts of the copies, and those that the other tables will have.
func (a *area) tables(ctx context.Context, shared bool) ([]uint64, error) {
	l1 := make([]uint64, len(a.l1))
	err := a.eachTable(ctx, a.l1, func(idx int, off int64, table []byte) error {
		a.mu.Lock()
		lo, hi, err := a.copiedFlags(ctx, table, shared)
		count := uint64(0)
		if err == nil {
			count, err = a.refcount(ctx, uint64(off)>>a.clusterBits)
		}
		a.mu.Unlock()
		if err != nil {
			return err
		}
		if l1[idx] = withFlag(uint64(off), count == 1); hi <= lo {
			return nil
		}
		at, err := a.put(ctx, slices.Clone(table))
		l1[idx] = withFlag(uint64(at), true)
		return err
	})
	return l1, err
}

// refcounts writes copies of the refcount blocks that differ from the file, and of those that count the area, and of the
// table that names them.
func (a *area) refcounts(ctx context.Context) (at hostOff, clusters int64, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var chosen []int // the blocks, which depend on how long the area is, which depends on them
	var n uint64     // entries of the table
	for before := -1; before != len(chosen); {
		before = len(chosen)
		end := a.next + hostOff(int64(len(chosen))<<a.clusterBits+a.roundUp(int64(n)*8))
		last := uint64(end-1) >> a.clusterBits >> a.refBlockBits
		if n = max(uint64(len(a.refTable)), uint64(a.roundUp(int64(last+1)*8)/8)); n*8 > maxRefTable {
			return 0, 0, errNoArea
		}
		chosen = chosen[:0]
		for idx := range n {
			counts := idx >= uint64(a.off)>>a.clusterBits>>a.refBlockBits && idx <= last
			if counts || a.changedBlock(idx) {
				chosen = append(chosen, int(idx))
			}
		}
	}
	refs := make([]uint64, n)
	copy(refs, a.refTable)
	end := a.next + hostOff(int64(len(chosen))<<a.clusterBits+int64(n)*8)
	for _, idx := range chosen {
		words, err := a.blockWith(ctx, uint64(idx), end)
		if err != nil {
			return 0, 0, err
		}
		if at, err = a.put(ctx, encodeWords(words)); err != nil {
			return 0, 0, err
		}
		refs[idx] = uint64(at)
	}
	if at, err = a.put(ctx, encodeWords(refs)); err != nil {
		return 0, 0, err
	}
	return at, a.clustersFor(int64(n) * 8), nil
}

// changedBlock reports whether refcount block idx differs from the file. mu is held.
func (a *area) changedBlock(idx uint64) bool {
	if idx >= uint64(len(a.refTable)) {
		return false
	}
	t := a.refBlocks.Find(int64(a.refTable[idx] &^ refReserved))
	return t != nil && t.Dirty()
}

// blockWith is refcount block idx with the area counted, which ends at end. mu is held.
func (a *area) blockWith(ctx context.Context, idx uint64, end hostOff) ([]uint64, error) {
	words := make([]uint64, a.clusterSize/8)
	t, err := a.refBlockOf(ctx, idx<<a.refBlockBits)
	if err != nil {
		return nil, err
	}
	for k := range words {
		if t != nil {
			words[k] = t.Get(k)
		}
	}
	first := idx << a.refBlockBits
	for c := max(first, uint64(a.off)>>a.clusterBits); c < first+1<<a.refBlockBits && hostOff(c<<a.clusterBits) < end; c++ {
		w, shift := a.refPlace(int(c - first))
		words[w] |= 1 << shift
	}
	return words, nil
}

// publish writes copies of l1 and of the refcounts, and lets the header name them, together with the present size and a table
// of snapshots that is at tableAt.
func (a *area) publish(ctx context.Context, l1 []uint64, t *snapshotTable, tableAt hostOff) error {
	l1At, err := a.put(ctx, encodeWords(l1))
	if err != nil {
		return errNoArea
	}
	refsAt, clusters, err := a.refcounts(ctx)
	if err == nil {
		err = a.write(ctx)
	}
	if err == nil {
		err = a.flushFiles(ctx)
	}
	if err != nil {
		return errNoArea
	}
	be := binary.BigEndian
	raw := be.AppendUint64(a.l1Fields()[:atL1Offset-atSize], uint64(l1At))
	raw = be.AppendUint64(raw, uint64(refsAt))
	raw = be.AppendUint32(raw, uint32(clusters))
	raw = be.AppendUint32(raw, uint32(len(t.list)))
	raw = be.AppendUint64(raw, uint64(tableAt))
	if err = a.file.WriteAt(ctx, raw, atSize, 0); err == nil {
		err = a.file.Flush(ctx)
	}
	if err != nil {
		// Which tables the header names is not known: nothing may be written any more.
		a.corrupt.Store(true)
	}
	return err
}

// home brings the metadata to its place, lets the header name it there, and cuts the area off.
func (a *area) home(ctx context.Context) error {
	a.mu.Lock()
	a.l1Moved, a.refTableMoved = true, true
	a.mu.Unlock()
	if err := a.commitAll(ctx); err != nil { // the next commit tries again
		return err
	}
	a.cut(ctx)
	return nil
}

// cut ends the file where it ended before.
func (a *area) cut(ctx context.Context) {
	a.mu.Lock()
	defer a.mu.Unlock()
	// A refcount block may have come to lie behind the end meanwhile.
	if a.file.Size() <= int64(a.off) {
		return
	}
	end := a.end
	if a.off > hostOff(a.roundUp(end)) {
		end = int64(a.off)
	}
	if err := a.file.Truncate(ctx, end, formats.PreallocOff); err != nil || !a.file.Limits().ZeroInit {
		a.used(a.off, int64(a.next-a.off))
	}
}

// switchTo makes t, which is at tableAt in the file, the table of snapshots, at once with the refcounts that count(1) changes
// (count(-1) takes it back) and the COPIED flags that go with them; shared says that all flags are to be clear.
// errNoArea: nothing was done; for lack of room, or because count failed.
func (i *image) switchTo(ctx context.Context, t snapshotTable, tableAt hostOff, shared bool, count func(delta int64) error) error {
	a, err := i.newArea(ctx)
	if err != nil {
		return errNoArea
	}
	if err := count(1); err != nil { // the way without copies will say so
		i.forgetDiscards()
		return errNoArea
	}
	l1, err := a.tables(ctx, shared)
	if err != nil {
		err = errNoArea
	} else {
		err = a.publish(ctx, l1, &t, tableAt)
	}
	if errors.Is(err, errNoArea) {
		// What cannot be undone leaks.
		_ = count(-1)
		i.forgetDiscards()
		a.cut(ctx)
	}
	if err != nil {
		return err
	}
	i.tookSnapshots(t, tableAt)
	if err := i.markCopied(ctx, i.l1, shared); err != nil {
		// The tables in memory are not those of the file any more.
		i.corrupt.Store(true)
		return err
	}
	return a.home(ctx)
}

// forgetDiscards drops what is queued: it was to be free, and is not.
func (i *image) forgetDiscards() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.discards = i.discards[:0]
}

// tookSnapshots says that the header names another table of snapshots now.
func (i *image) tookSnapshots(t snapshotTable, at hostOff) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.snapshots.size > 0 {
		i.release(hostOff(i.hdr.snapshotsOffset), i.snapshots.size, causeSnapshot)
	}
	i.hdr.snapshots, i.hdr.snapshotsOffset = uint32(len(t.list)), uint64(at)
	i.snapshots = t
	i.forgetMeta()
}

// storeL1 writes the whole active L1 table, and the size, as if at once: a copy is valid while it is written in its place.
// Without room for a copy it is written like other tables.
func (i *image) storeL1(ctx context.Context) error {
	a, err := i.newArea(ctx)
	if err == nil {
		err = a.publish(ctx, i.l1, &i.snapshots, hostOff(i.hdr.snapshotsOffset))
	}
	switch {
	case errors.Is(err, errNoArea):
		i.mu.Lock()
		i.l1Moved = true
		i.mu.Unlock()
		err = i.commitAll(ctx)
		if a != nil {
			a.cut(ctx)
		}
		return err
	case err != nil:
		return err
	}
	return a.home(ctx)
}
