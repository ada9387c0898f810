package qcow2

import (
	"context"
	"encoding/binary"
	"math"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

// audit is one run of check: every reference to every host cluster is counted, then compared with the refcounts. It
// works on the file, which is brought up to date first; nothing else uses the image meanwhile.
type audit struct {
	*image
	ctx     context.Context
	fix     formats.FixMode
	env     *formats.Env
	res     formats.CheckResult
	snap    formats.CheckResult // of the snapshot table alone
	counts  counts
	fileLen int64
	rebuild bool   // the refcount structures are damaged beyond single repairs
	highest int64  // last cluster that is used or counted as used
	table   []byte // an L2 table
	writes  bool   // tables in the file were changed behind the caches
}

// Check counts all references and holds them against the refcounts and the COPIED flags; fix says what may be
// repaired. Findings are reported in QEMU's words.
func (i *image) Check(ctx context.Context, fix formats.FixMode, env *formats.Env) (formats.CheckResult, error) {
	if err := i.usable(); err != nil {
		return formats.CheckResult{}, err
	}
	if i.writable() {
		if err := i.store(ctx); err != nil {
			return formats.CheckResult{CheckErrors: 1}, err
		}
	}
	a := &audit{image: i, ctx: context.WithoutCancel(ctx), fix: fix, env: env}
	err := a.run()
	if err == nil && fix != 0 {
		err = a.store(a.ctx)
	}
	a.mu.Lock()
	if a.writes {
		a.l2.DropAll()
		a.refBlocks.DropAll()
		a.clusters.forget()
	}
	a.forgetMeta()
	a.nextFree, a.nextFreeByte = 0, 0
	a.mu.Unlock()
	if err == nil && fix != 0 {
		err = a.clearMarks()
	}
	return a.res, err
}

// store writes all metadata, lazy refcounts too, so that the file alone is right.
func (i *image) store(ctx context.Context) error {
	for range 2 { // the second commit stores the refcounts of what the first one freed
		if err := i.commitAll(ctx); err != nil {
			return err
		}
	}
	return nil
}

// clearMarks takes the marks of damage away if none is left.
func (a *audit) clearMarks() error {
	if a.res.CheckErrors > 0 || a.res.Corruptions > 0 {
		return nil
	}
	if marks := incompatDirty | incompatCorrupt; a.hdr.incompat&marks != 0 {
		if err := a.file.Flush(a.ctx); err != nil {
			return err
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.setIncompat(a.ctx, a.hdr.incompat&^marks)
	}
	return nil
}

// repairDirty counts the refcounts of an image anew that was not closed with lazy refcounts.
func (i *image) repairDirty(ctx context.Context) error {
	res, err := i.Check(ctx, formats.FixLeaks|formats.FixErrors, i.env)
	if err == nil && res.CheckErrors > 0 {
		err = qerr.New(syscall.EINVAL, "check found errors")
	}
	return err
}

func (a *audit) run() error {
	defer a.addTableResult()
	if err := a.checkSnapshotTable(); err != nil {
		return err
	}
	if err := a.checkRefcounts(); err != nil {
		return err
	}
	return a.repairSnapshotTable()
}

func (a *audit) checkRefcounts() error {
	a.fileLen = a.file.Size()
	n := a.clustersFor(a.fileLen)
	if n > math.MaxInt32 {
		a.res.CheckErrors++
		return qerr.New(syscall.EFBIG, "the image file has too many clusters")
	}
	a.counts = newCounts(n, 1+len(a.snapshots.list), a.refMax)
	a.table = make([]byte, a.clusterSize)
	a.res.TotalClusters = a.clustersFor(a.size.Load())
	if err := a.count(a.fix); err != nil {
		return err
	}
	before := a.res
	if err := a.compare(0); err != nil {
		return err
	}
	switch {
	case a.rebuild && a.fix&formats.FixErrors != 0:
		if err := a.rebuildRefcounts(); err != nil {
			return err
		}
	case a.fix != 0 && a.rebuild:
		a.env.Report("ERROR need to rebuild refcount structures")
		a.res.CheckErrors++
		return qerr.New(syscall.EIO, "the refcount structures must be rebuilt")
	case a.fix != 0 && (a.res.Leaks > 0 || a.res.Corruptions > 0):
		a.res = before
		if err := a.compare(a.fix); err != nil {
			return err
		}
	}
	a.mu.Lock()
	err := a.checkCopied()
	a.mu.Unlock()
	if err != nil {
		return err
	}
	a.res.ImageEndOffset = (a.highest + 1) << a.clusterBits
	return nil
}

// count goes through everything that refers to clusters. It is the order in which QEMU does, since what is counted
// twice shows at the second place.
func (a *audit) count(fix formats.FixMode) error {
	a.refer(0, a.clusterSize)
	if err := a.countL1(int64(a.hdr.l1Offset), int64(len(a.l1)), true, fix); err != nil {
		return err
	}
	if err := a.countSnapshots(fix); err != nil {
		return err
	}
	a.refer(int64(a.hdr.ext.cryptoOffset), int64(a.hdr.ext.cryptoLength))
	if err := a.countBitmaps(); err != nil {
		return err
	}
	a.refer(int64(a.hdr.refTableOffset), int64(len(a.refTable))*8)
	return a.countRefBlocks(fix)
}

// refer counts one reference to every cluster of a range.
func (a *audit) refer(off, n int64) {
	if n <= 0 {
		return
	}
	// The last cluster of a file may be there in part only.
	if off < 0 || off > math.MaxInt64-n || off+n-a.fileLen >= a.clusterSize {
		a.env.Report("ERROR: counting reference for region exceeding the end of the file by one cluster or more: "+
			"offset 0x%x size 0x%x", uint64(off), n)
		a.res.Corruptions++
		return
	}
	for c := off >> a.clusterBits; c <= (off+n-1)>>a.clusterBits; c++ {
		if !a.counts.add(c) {
			a.env.Report("ERROR: overflow cluster offset=0x%x", c<<a.clusterBits)
			a.env.Report("Use qemu-img amend to increase the refcount entry width or qemu-img convert to create a " +
				"clean copy if the image cannot be opened for writing")
			a.res.Corruptions++
		}
	}
}

// countL1 counts an L1 table of entries at off, and what it refers to. The table of the disk itself is the active one.
func (a *audit) countL1(off, entries int64, active bool, fix formats.FixMode) error {
	if entries == 0 {
		return nil
	}
	a.refer(off, entries*8)
	l1, err := readTable(a.ctx, a.file, off, entries)
	if err != nil {
		a.env.Report("ERROR: I/O error in check_refcounts_l1")
		a.res.CheckErrors++
		return err
	}
	for _, e := range l1 {
		if e == 0 {
			continue
		}
		if e&l1Reserved != 0 {
			a.env.Report("ERROR found L1 entry with reserved bits set: %x", e)
			a.res.Corruptions++
		}
		table := int64(e & entryOffset)
		a.refer(table, a.clusterSize)
		if a.inCluster(table) != 0 {
			a.env.Report("ERROR l2_offset=%x: Table is not cluster aligned; L1 entry corrupted", table)
			a.res.Corruptions++
		}
		if err := a.countL2(table, active, fix); err != nil {
			return err
		}
	}
	return nil
}

// countRefBlocks counts the refcount blocks.
func (a *audit) countRefBlocks(fix formats.FixMode) error {
	for k, e := range a.refTable {
		off := int64(e &^ refReserved)
		switch {
		case e&refReserved != 0:
			a.env.Report("ERROR refcount table entry %d has reserved bits set", k)
			a.res.Corruptions++
			a.rebuild = true
		case a.inCluster(off) != 0:
			a.env.Report("ERROR refcount block %d is not cluster aligned; refcount table entry corrupted", k)
			a.res.Corruptions++
			a.rebuild = true
		case off < 0 || off>>a.clusterBits >= a.counts.len():
			if err := a.refBlockOutside(k, off, fix); err != nil {
				return err
			}
		case off != 0:
			a.refer(off, a.clusterSize)
			if n := a.counts.get(off >> a.clusterBits); n != 1 {
				a.env.Report("ERROR refcount block %d refcount=%d", k, n)
				a.res.Corruptions++
				a.rebuild = true
			}
		}
	}
	return nil
}

// refBlockOutside lengthens the file so that the block exists, if that may be repaired.
func (a *audit) refBlockOutside(k int, off int64, fix formats.FixMode) error {
	a.res.Corruptions++
	if fix&formats.FixErrors == 0 {
		a.env.Report("ERROR refcount block %d is outside image", k)
		return nil
	}
	a.env.Report("Repairing refcount block %d is outside image", k)
	err := error(syscall.EINVAL)
	if off >= 0 && off <= math.MaxInt64-a.clusterSize && (off+a.clusterSize)>>a.clusterBits <= math.MaxInt32 {
		if err = a.file.Truncate(a.ctx, off+a.clusterSize, formats.PreallocOff); err != nil {
			a.env.ReportError("%s", err)
		}
	}
	if err != nil {
		a.rebuild = true
		a.env.Report("ERROR could not resize image: %s", qerr.Strerror(qerr.Of(err)))
		return nil
	}
	a.fileLen = a.file.Size()
	a.counts.grow(a.clustersFor(a.fileLen))
	a.res.Corruptions--
	a.res.CorruptionsFixed++
	a.refer(off, a.clusterSize)
	return nil
}

// compare holds the refcounts against what was counted, and sets single ones right as fix allows.
func (a *audit) compare(fix formats.FixMode) error {
	a.highest = 0
	var block []byte
	loaded := int64(-1)
	var failed error
	for c := int64(0); c < a.counts.len(); c++ {
		if k := c >> a.refBlockBits; k != loaded {
			block, failed = a.readRefBlock(k)
			loaded = k
		}
		if failed != nil {
			a.env.Report("Can't get refcount for cluster %d: %s", c, qerr.Strerror(qerr.Of(failed)))
			a.res.CheckErrors++
			continue
		}
		have, want := a.storedRefcount(block, c), a.counts.get(c)
		if have > 0 || want > 0 {
			a.highest = c
		}
		if have != want {
			a.mismatch(c, have, want, fix)
		}
	}
	return nil
}

// readRefBlock reads refcount block k as it is in the file; nil means that all its clusters are free.
func (a *audit) readRefBlock(k int64) ([]byte, error) {
	if k >= int64(len(a.refTable)) || a.refTable[k]&^refReserved == 0 {
		return nil, nil
	}
	off := int64(a.refTable[k] &^ refReserved)
	if a.inCluster(off) != 0 {
		return nil, a.signalCorruption(true, "Refblock offset %#x unaligned (reftable index: %#x)", off, k)
	}
	raw := make([]byte, a.clusterSize)
	return raw, a.file.ReadAt(a.ctx, raw, off)
}

// storedRefcount reads the refcount of cluster c from its block.
func (a *audit) storedRefcount(block []byte, c int64) uint64 {
	if block == nil {
		return 0
	}
	word, shift := a.refPlace(int(c & (1<<a.refBlockBits - 1)))
	return binary.BigEndian.Uint64(block[word*8:]) >> shift & a.refMask()
}

func (a *audit) mismatch(c int64, have, want uint64, fix formats.FixMode) {
	leak := have > want
	var fixed *int64
	switch {
	case have == 0:
		a.rebuild = true
	case leak && fix&formats.FixLeaks != 0:
		fixed = &a.res.LeaksFixed
	case !leak && fix&formats.FixErrors != 0:
		fixed = &a.res.CorruptionsFixed
	}
	word := "ERROR"
	if fixed != nil {
		word = "Repairing"
	} else if leak {
		word = "Leaked"
	}
	a.env.Report("%s cluster %d refcount=%d reference=%d", word, c, have, want)
	if fixed != nil && a.setRefcount(c, have, want) == nil {
		*fixed++
		return
	}
	if leak {
		a.res.Leaks++
	} else {
		a.res.Corruptions++
	}
}

// setRefcount changes one refcount in memory; the commit at the end stores it.
func (a *audit) setRefcount(c int64, have, want uint64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.addRefcount(a.ctx, uint64(c), int64(want-have), causeAlways)
}
