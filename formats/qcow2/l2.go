package qcow2

import (
	"context"
	"sync/atomic"
	"syscall"

	"platter/formats"
	"platter/formats/internal/tablecache"
	"platter/formats/qerr"
)

// extent is a run of guest bytes that is stored in one way.
type extent struct {
	kind  kind
	host  hostOff // of the first byte, for kinds with a host cluster
	entry uint64  // the descriptor of a compressed cluster, which is an extent of its own
	n     int64
}

func (i *image) l1Index(g guestOff) int { return int(int64(g) >> (i.clusterBits + i.l2Bits)) }

// l2Index is the number of the cluster at g in its L2 table.
func (i *image) l2Index(g guestOff) int {
	return int(int64(g)>>i.clusterBits) & (1<<i.l2Bits - 1)
}

// l2TableOf gives the host offset of the L2 table for g, 0 if there is none.
func (i *image) l2TableOf(g guestOff) (hostOff, error) {
	idx := i.l1Index(g)
	if idx >= len(i.l1) {
		return 0, nil
	}
	off := int64(atomic.LoadUint64(&i.l1[idx]) & entryOffset)
	if i.inCluster(off) != 0 {
		return 0, i.signalCorruption(true, "L2 table offset %#x unaligned (L1 index: %#x)", off, idx)
	}
	return hostOff(off), nil
}

// sliceAt finds, loading it if it must, the slice of the L2 table at table that holds entry idx, and the entry's place
// in it. locked says that the caller holds mu.
func (i *image) sliceAt(ctx context.Context, table hostOff, idx int, locked bool) (*tablecache.Table, int, error) {
	in := idx & (1<<i.sliceBits - 1)
	off := int64(table) + int64(idx-in)*int64(8*i.entryWords)
	if t := i.l2.Find(off); t != nil {
		return t, in, nil
	}
	if !locked {
		i.mu.Lock()
		defer i.mu.Unlock()
		if t := i.l2.Find(off); t != nil {
			return t, in, nil
		}
	}
	raw := make([]byte, i.l2.TableSize())
	i.events.Raise(formats.EventL2Load)
	if err := i.file.ReadAt(ctx, raw, off); err != nil {
		return nil, 0, err
	}
	return i.l2.Insert(off, raw), in, nil
}

// lookup describes the run at g, of at most n bytes and at most to the end of a slice. It takes no lock unless a table
// must be loaded or locked says that the caller holds mu.
func (i *image) lookup(ctx context.Context, g guestOff, n int64, locked bool) (extent, error) {
	idx := i.l2Index(g)
	inSlice := idx & (1<<i.sliceBits - 1)
	n = min(n, int64(1<<i.sliceBits-inSlice)<<i.clusterBits-i.inCluster(int64(g)))
	table, err := i.l2TableOf(g)
	if err != nil {
		return extent{}, err
	}
	if table == 0 {
		return extent{kind: unallocated, n: n}, nil
	}
	t, in, err := i.sliceAt(ctx, table, idx, locked)
	if err != nil {
		return extent{}, err
	}
	for {
		seq := t.Begin()
		var e extent
		if i.extended() {
			e = i.runExtended(t, in, g, n)
		} else {
			e = i.run(t, in, g, n)
		}
		if t.Consistent(seq) {
			return e, i.validate(e, g, int64(table))
		}
	}
}

// run counts the clusters from entry idx on that continue the first one.
func (i *image) run(t *tablecache.Table, idx int, g guestOff, n int64) extent {
	inside := i.inCluster(int64(g))
	entry := t.Get(idx)
	k := i.clusterKind(entry)
	e := extent{kind: k, n: i.clusterSize - inside}
	switch {
	case k == compressed:
		e.entry = entry
	case k.hasHost():
		first := entry & entryOffset
		e.host = hostOff(int64(first) + inside)
		for ; e.n < n; e.n += i.clusterSize {
			idx++
			first += uint64(i.clusterSize)
			if next := t.Get(idx); next&entryOffset != first || i.clusterKind(next) != k {
				break
			}
		}
	default:
		for ; e.n < n; e.n += i.clusterSize {
			idx++
			if i.clusterKind(t.Get(idx)) != k {
				break
			}
		}
	}
	e.n = min(e.n, n)
	return e
}

// runExtended is run for L2 entries with subclusters.
func (i *image) runExtended(t *tablecache.Table, idx int, g guestOff, n int64) extent {
	inside := i.inCluster(int64(g))
	sc := int(inside >> i.subBits)
	entry, bitmap := t.Get(2*idx), t.Get(2*idx+1)
	k, count := i.subRun(entry, bitmap, sc)
	e := extent{kind: k, n: int64(sc+count)<<i.subBits - inside}
	if k == compressed {
		e.entry = entry
		e.n = min(e.n, n)
		return e
	}
	first := entry & entryOffset
	if k.hasHost() {
		e.host = hostOff(int64(first) + inside)
	}
	for sc+count == subclusters && e.n < n && k != invalid {
		idx++
		first += uint64(i.clusterSize)
		entry, bitmap = t.Get(2*idx), t.Get(2*idx+1)
		var next kind
		next, count = i.subRun(entry, bitmap, 0)
		if next != k || k.hasHost() && entry&entryOffset != first {
			break
		}
		sc = 0
		e.n += int64(count) << i.subBits
	}
	e.n = min(e.n, n)
	return e
}

// validate refuses what no correct image holds.
func (i *image) validate(e extent, g guestOff, table int64) error {
	idx := i.l2Index(g)
	switch {
	case e.kind == invalid:
		return i.signalCorruption(true, "Invalid cluster entry found  (L2 offset: %#x, L2 index: %#x)", table, idx)
	case (e.kind == zeroPlain || e.kind == zeroAlloc) && i.hdr.version < 3:
		return i.signalCorruption(true, "Zero cluster entry found in pre-v3 image (L2 offset: %#x, L2 index: %#x)", table, idx)
	case e.kind == compressed && i.external():
		return i.signalCorruption(true, "Compressed cluster entry found in image with external data file (L2 offset: %#x, "+
			"L2 index: %#x)", table, idx)
	case e.kind.hasHost() && i.inCluster(int64(e.host)) != i.inCluster(int64(g)):
		return i.signalCorruption(true, "Cluster allocation offset %#x unaligned (L2 offset: %#x, L2 index: %#x)",
			i.startOf(e, g), table, idx)
	case e.kind.hasHost() && i.external() && int64(e.host) != int64(g):
		return i.signalCorruption(true, "External data file host cluster offset %#x does not match guest cluster offset: %#x, "+
			"L2 index: %#x)", i.startOf(e, g), i.clusterStart(int64(g)), idx)
	}
	return nil
}

func (i *image) startOf(e extent, g guestOff) int64 { return int64(e.host) - i.inCluster(int64(g)) }

// ownTable makes sure that the L2 table for g exists and is not shared, and returns its host offset. mu is held.
func (i *image) ownTable(ctx context.Context, g guestOff) (hostOff, error) {
	idx := i.l1Index(g)
	if idx >= len(i.l1) {
		return 0, qerr.New(syscall.EFBIG, "guest offset %#x is beyond the L1 table", int64(g))
	}
	old, err := i.l2TableOf(g)
	if err != nil {
		return 0, err
	}
	if old != 0 && i.l1[idx]&flagCopied != 0 {
		return old, nil
	}
	size := int64(8*i.entryWords) << i.l2Bits
	off, err := i.allocClusters(ctx, size)
	if err != nil {
		return 0, err
	}
	if off == 0 {
		return 0, i.signalCorruption(true, "Preventing invalid allocation of L2 table at offset 0")
	}
	if err = i.hold(ctx, off, size); err == nil {
		err = i.copyTable(ctx, off, old)
	}
	if err != nil {
		i.freeNow(ctx, off, size)
		return 0, err
	}
	i.events.Raise(formats.EventL2AllocWrite)
	atomic.StoreUint64(&i.l1[idx], uint64(off)|flagCopied)
	i.l1Dirty[idx] = struct{}{}
	i.fresh[off] = true
	i.noteMeta(off, size, activeL2)
	if old != 0 {
		i.release(old, size, causeOther)
	}
	return off, nil
}

// copyTable fills the new L2 table at to with zeroes, or with the table at from; all of it is to be written.
func (i *image) copyTable(ctx context.Context, to, from hostOff) error {
	size := i.l2.TableSize()
	for k := 0; k < 1<<i.l2Bits; k += 1 << i.sliceBits {
		at := int64(k) * int64(8*i.entryWords)
		var old *tablecache.Table
		if from != 0 {
			i.events.Raise(formats.EventL2AllocCOWRead)
			var err error
			if old, _, err = i.sliceAt(ctx, from, k, true); err != nil {
				return err
			}
		}
		t := i.l2.Insert(int64(to)+at, nil)
		if old == nil {
			i.l2.MarkDirty(t, 0, int(size/8))
			continue
		}
		words := make([]uint64, size/8)
		for w := range words {
			words[w] = old.Get(w)
		}
		i.l2.Set(t, 0, words...)
	}
	return nil
}

// entryAt reads the L2 entry for the cluster at g; mu is held. Without an L2 table the entry is 0.
func (i *image) entryAt(ctx context.Context, g guestOff) (entry, bitmap uint64, err error) {
	table, err := i.l2TableOf(g)
	if err != nil || table == 0 {
		return 0, 0, err
	}
	t, in, err := i.sliceAt(ctx, table, i.l2Index(g), true)
	if err != nil {
		return 0, 0, err
	}
	if i.extended() {
		return t.Get(2 * in), t.Get(2*in + 1), nil
	}
	return t.Get(in), 0, nil
}

// setEntry changes the L2 entry for the cluster at g, in the table at table that ownTable gave. mu is held.
func (i *image) setEntry(ctx context.Context, table hostOff, g guestOff, entry, bitmap uint64) error {
	t, in, err := i.sliceAt(ctx, table, i.l2Index(g), true)
	if err != nil {
		return err
	}
	if i.extended() {
		i.l2.Set(t, 2*in, entry, bitmap)
	} else {
		i.l2.Set(t, in, entry)
	}
	return nil
}
