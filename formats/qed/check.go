package qed

import (
	"context"
	"encoding/binary"

	"platter/formats"
)

// chunkBits is the size of a piece of the map of used clusters.
const chunkBits = 1 << 15

// audit is one run of check over the file, which is brought up to date first.
type audit struct {
	*image
	fix  bool
	res  formats.CheckResult
	used map[int64]*[chunkBits / 64]uint64
	n    int64 // clusters that are used at least once
}

// Check finds entries out of range and clusters used twice, and counts what nothing names. With fix, entries out of
// range are cleared; leaks stay, since the format has no free list.
func (d *image) Check(ctx context.Context, fix formats.FixMode, _ *formats.Env) (formats.CheckResult, error) {
	if d.writable {
		if err := d.flush(context.WithoutCancel(ctx)); err != nil {
			return formats.CheckResult{CheckErrors: 1}, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	a := &audit{image: d, fix: fix != 0 && d.writable, used: map[int64]*[chunkBits / 64]uint64{}}
	a.res.TotalClusters = int64((d.head.ImageSize + uint64(d.cluster()) - 1) / uint64(d.cluster()))
	if err := a.tablesOf(ctx); err != nil {
		return a.res, err
	}
	a.res.Leaks = max(d.end/d.cluster()-int64(d.head.HeaderSize)-a.n, 0)
	if !a.fix {
		return a.res, nil
	}
	d.tables.drop()
	return a.res, a.markClean(context.WithoutCancel(ctx))
}

// markClean clears the need-check bit if nothing is wrong any more.
func (a *audit) markClean(ctx context.Context) error {
	if a.res.Corruptions > 0 || a.res.CheckErrors > 0 || a.head.Features&featNeedCheck == 0 {
		return nil
	}
	if err := a.file.Flush(ctx); err != nil {
		return err
	}
	a.head.Features &^= featNeedCheck
	a.marked = false
	return a.writeHeader(ctx)
}

// refer notes that n clusters from off on are used, and reports whether none of them was before.
func (a *audit) refer(off uint64, n int64) bool {
	twice := int64(0)
	for c := int64(off) / a.cluster(); n > 0; c, n = c+1, n-1 {
		chunk := a.used[c/chunkBits]
		if chunk == nil {
			chunk = new([chunkBits / 64]uint64)
			a.used[c/chunkBits] = chunk
		}
		word, bit := &chunk[c%chunkBits/64], uint64(1)<<(c%64)
		if *word&bit != 0 {
			twice++
			continue
		}
		*word |= bit
		a.n++
	}
	a.res.Corruptions += twice
	return twice == 0
}

// tablesOf goes through the L1 table and all L2 tables. An L2 table that cannot be read is passed over.
func (a *audit) tablesOf(ctx context.Context) error {
	tableClusters := int64(a.head.TableSize)
	a.refer(a.head.L1Offset, tableClusters)
	var failed error
	err := a.eachEntry(ctx, a.head.L1Offset, func(e uint64) bool {
		if e == unallocated {
			return true
		}
		if !a.head.tableFits(e, a.end) {
			return a.bad()
		}
		if !a.refer(e, tableClusters) {
			return true
		}
		if err := a.dataOf(ctx, e); err != nil {
			a.res.CheckErrors++
			failed = err
		}
		return true
	})
	if err != nil {
		a.res.CheckErrors++
		return err
	}
	return failed
}

// dataOf goes through an L2 table.
func (a *audit) dataOf(ctx context.Context, l2 uint64) error {
	last := uint64(0)
	return a.eachEntry(ctx, l2, func(e uint64) bool {
		if e == unallocated || e == zeroCluster {
			return true
		}
		a.res.AllocatedClusters++
		if last != 0 && last+uint64(a.cluster()) != e {
			a.res.FragmentedClusters++
		}
		last = e
		if !a.head.clusterFits(e, a.end) {
			return a.bad()
		}
		a.refer(e, 1)
		return true
	})
}

// bad counts an entry out of range; it is kept (true) unless it is to be repaired.
func (a *audit) bad() bool {
	if a.fix {
		a.res.CorruptionsFixed++
		return false
	}
	a.res.Corruptions++
	return true
}

// eachEntry calls keep for all entries of a table, and clears those that it does not want to keep.
func (a *audit) eachEntry(ctx context.Context, off uint64, keep func(e uint64) bool) error {
	left, at := a.head.tableBytes(), int64(off)
	buf := make([]byte, min(left, 1<<20))
	for ; left > 0; left, at = left-int64(len(buf)), at+int64(len(buf)) {
		if err := a.file.ReadAt(ctx, buf, at); err != nil {
			return err
		}
		changed := false
		for i := 0; i < len(buf); i += 8 {
			if !keep(binary.LittleEndian.Uint64(buf[i:])) {
				clear(buf[i : i+8])
				changed = true
			}
		}
		if !changed {
			continue
		}
		if err := a.file.WriteAt(context.WithoutCancel(ctx), buf, at, 0); err != nil {
			return err
		}
	}
	return nil
}
