package qcow2

import (
	"encoding/binary"
	"sync/atomic"

	"platter/formats"
	"platter/formats/qerr"
)

// entryOf decodes entry k of an L2 table.
func (i *image) entryOf(table []byte, k int) (entry, bitmap uint64) {
	at := k * i.entryWords * 8
	entry = binary.BigEndian.Uint64(table[at:])
	if i.extended() {
		bitmap = binary.BigEndian.Uint64(table[at+8:])
	}
	return entry, bitmap
}

// countL2 counts what an L2 table refers to, and what is wrong with its entries.
func (a *audit) countL2(off int64, active bool, fix formats.FixMode) error {
	if err := a.file.ReadAt(a.ctx, a.table, off); err != nil {
		a.env.Report("ERROR: I/O error in check_refcounts_l2")
		a.res.CheckErrors++
		return err
	}
	next := int64(0) // where the next cluster would lie if nothing were fragmented
	for k := range 1 << a.l2Bits {
		entry, bitmap := a.entryOf(a.table, k)
		if entry == 0 && bitmap == 0 {
			continue
		}
		kind := a.clusterKind(entry)
		if kind != compressed && entry&l2Reserved != 0 {
			a.env.Report("ERROR found l2 entry with reserved bits set: %x", entry)
			a.res.Corruptions++
		}
		switch {
		case kind == compressed:
			a.countCompressed(k, entry, bitmap, active)
		case kind.hasHost():
			done, err := a.countCluster(off, k, active, fix)
			if err != nil {
				return err
			}
			if done {
				continue
			}
			if host := int64(entry & entryOffset); active {
				a.res.AllocatedClusters++
				if next != 0 && host != next {
					a.res.FragmentedClusters++
				}
				next = host + a.clusterSize
			}
			if !a.external() {
				a.refer(int64(entry&entryOffset), a.clusterSize)
			}
		case kind == unallocated && bitmap&allAlloc != 0:
			a.env.Report("ERROR: Unallocated cluster has non-zero subcluster allocation map")
			a.res.Corruptions++
		}
	}
	return nil
}

func (a *audit) countCompressed(k int, entry, bitmap uint64, active bool) {
	off, n := a.compressedAt(entry &^ flagCopied)
	if entry&flagCopied != 0 {
		a.env.Report("ERROR: coffset=0x%x: copied flag must never be set for compressed clusters", int64(off))
		a.res.Corruptions++
		entry &^= flagCopied
	}
	switch {
	case a.external():
		a.env.Report("ERROR compressed cluster %d with data file, entry=0x%x", k, entry)
		a.res.Corruptions++
		return
	case bitmap != 0:
		a.env.Report("ERROR compressed cluster %d with non-zero subcluster allocation bitmap, entry=0x%x", k, entry)
		a.res.Corruptions++
		return
	}
	a.refer(int64(off), n)
	if active {
		a.res.AllocatedClusters++
		a.res.CompressedClusters++
		a.res.FragmentedClusters++ // compressed clusters count as fragmented
	}
}

// countCluster looks at an entry with a host cluster. done says that the entry was replaced and is not to be counted.
func (a *audit) countCluster(table int64, k int, active bool, fix formats.FixMode) (done bool, err error) {
	entry, bitmap := a.entryOf(a.table, k)
	host := int64(entry & entryOffset)
	if bitmap>>32&bitmap != 0 {
		a.env.Report("ERROR offset=%x: Allocated cluster has corrupted subcluster allocation bitmap", host)
		a.res.Corruptions++
	}
	if a.inCluster(host) == 0 {
		return false, nil
	}
	a.res.Corruptions++
	hasData := entry&flagZero == 0
	if a.extended() {
		hasData = bitmap&allAlloc != 0
	}
	if hasData {
		a.env.Report("ERROR offset=%x: Data cluster is not properly aligned; L2 entry corrupted.", host)
		return false, nil
	}
	if fix&formats.FixErrors == 0 {
		a.env.Report("ERROR offset=%x: Preallocated cluster is not properly aligned; L2 entry corrupted.", host)
		return false, nil
	}
	a.env.Report("Repairing offset=%x: Preallocated cluster is not properly aligned; L2 entry corrupted.", host)
	return a.zeroEntry(table, k, active)
}

// zeroEntry replaces entry k by one that reads as zeroes without a host cluster, in the file.
func (a *audit) zeroEntry(table int64, k int, active bool) (done bool, err error) {
	entry, bitmap := uint64(flagZero), uint64(0)
	if a.extended() {
		_, bitmap = a.entryOf(a.table, k)
		entry, bitmap = 0, (bitmap|bitmap<<32)&allZero
	}
	words := []uint64{entry, bitmap}[:a.entryWords]
	at := table + int64(k)*int64(a.entryWords)*8
	want := section(activeL2)
	if !active {
		want = inactiveL2
	}
	a.mu.Lock()
	err = a.checkMeta(hostOff(at), want)
	a.mu.Unlock()
	if err != nil {
		a.env.Report("ERROR: Overlap check failed")
		a.res.CheckErrors++
		return false, err
	}
	if err := a.writeFile(encodeWords(words), at); err != nil {
		a.env.Report("ERROR: Failed to overwrite L2 table entry: %s", qerr.Strerror(qerr.Of(err)))
		a.res.CheckErrors++
		return false, nil
	}
	a.res.Corruptions--
	a.res.CorruptionsFixed++
	return true, nil
}

// writeFile writes metadata past the caches, which are dropped at the end.
func (a *audit) writeFile(p []byte, off int64) error {
	a.writes = true
	return a.file.WriteAt(a.ctx, p, off, 0)
}

// checkCopied holds the COPIED flags of the active tables against the refcounts. mu is held.
func (a *audit) checkCopied() error {
	repair := a.fix&formats.FixErrors != 0 ||
		a.fix&formats.FixLeaks != 0 && a.res.CheckErrors == 0 && a.res.Corruptions == 0 && a.res.Leaks == 0
	word := "ERROR"
	if repair {
		word = "Repairing"
	}
	for k, e := range a.l1 {
		table := int64(e & entryOffset)
		if table == 0 {
			continue
		}
		n, err := a.refcountNow(table)
		if err != nil {
			continue // reported where the refcounts were compared
		}
		if (n == 1) != (e&flagCopied != 0) {
			a.env.Report("%s OFLAG_COPIED L2 cluster: l1_index=%d l1_entry=%x refcount=%d", word, k, e, n)
			a.res.Corruptions++
			if repair {
				a.setL1Copied(k, n == 1)
			}
		}
		if err := a.checkCopiedL2(table, word, repair); err != nil {
			return err
		}
	}
	return nil
}

func (a *audit) setL1Copied(k int, on bool) {
	atomic.StoreUint64(&a.l1[k], withFlag(a.l1[k], on))
	a.l1Dirty[k] = struct{}{}
	a.res.Corruptions--
	a.res.CorruptionsFixed++
}

func withFlag(entry uint64, on bool) uint64 {
	if on {
		return entry | flagCopied
	}
	return entry &^ flagCopied
}

// refcountNow is the refcount of the cluster at off with what this run has repaired. mu is held.
func (a *audit) refcountNow(off int64) (uint64, error) {
	return a.refcount(a.ctx, uint64(off)>>a.clusterBits)
}

func (a *audit) checkCopiedL2(table int64, word string, repair bool) error {
	if err := a.file.ReadAt(a.ctx, a.table, table); err != nil {
		a.env.Report("ERROR: Could not read L2 table: %s", qerr.Strerror(qerr.Of(err)))
		a.res.CheckErrors++
		return err
	}
	changed := int64(0)
	for k := range 1 << a.l2Bits {
		entry, _ := a.entryOf(a.table, k)
		if kind := a.clusterKind(entry); kind != normal && kind != zeroAlloc {
			continue
		}
		n := uint64(1)
		if !a.external() {
			var err error
			if n, err = a.refcountNow(int64(entry & entryOffset)); err != nil {
				continue
			}
		}
		if (n == 1) == (entry&flagCopied != 0) {
			continue
		}
		a.res.Corruptions++
		a.env.Report("%s OFLAG_COPIED data cluster: l2_entry=%x refcount=%d", word, entry, n)
		if repair {
			binary.BigEndian.PutUint64(a.table[k*a.entryWords*8:], withFlag(entry, n == 1))
			changed++
		}
	}
	if changed == 0 {
		return nil
	}
	return a.storeCopied(table, changed)
}

func (a *audit) storeCopied(table, changed int64) error {
	err := a.checkMeta(hostOff(table), activeL2)
	if err != nil {
		a.env.Report("ERROR: Could not write L2 table; metadata overlap check failed: %s", qerr.Strerror(qerr.Of(err)))
		a.res.CheckErrors++
		return err
	}
	if err := a.writeFile(a.table, table); err != nil {
		a.env.Report("ERROR: Could not write L2 table: %s", qerr.Strerror(qerr.Of(err)))
		a.res.CheckErrors++
		return err
	}
	a.res.Corruptions -= changed
	a.res.CorruptionsFixed += changed
	return nil
}
