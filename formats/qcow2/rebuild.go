package qcow2

import (
	"encoding/binary"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

// rebuildRefcounts writes new refcount blocks and a new table from what was counted, into clusters that nothing refers
// to, and lets the header name them. The old ones are leaks then.
func (a *audit) rebuildRefcounts() error {
	old := a.res
	a.env.Report("Rebuilding refcount structure")
	if err := a.writeNewRefcounts(); err != nil {
		a.res.CheckErrors++
		a.env.ReportError("%s", err)
		return err
	}
	a.res.Corruptions, a.res.Leaks = 0, 0
	a.rebuild = false
	a.counts.reset()
	a.fileLen = a.file.Size()
	a.counts.grow(a.clustersFor(a.fileLen))
	// Everything is counted a second time, as the references to the old structures are gone.
	a.res.AllocatedClusters, a.res.FragmentedClusters, a.res.CompressedClusters = 0, 0, 0
	if err := a.count(0); err != nil {
		return err
	}
	fresh := int64(0)
	if a.fix&formats.FixLeaks != 0 {
		saved := a.res
		a.res = formats.CheckResult{}
		if err := a.compare(formats.FixLeaks); err != nil {
			return err
		}
		if a.rebuild {
			a.env.Report("ERROR rebuilt refcount structure is still broken")
		}
		fresh, a.res = a.res.Leaks, saved
	}
	if a.res.Corruptions < old.Corruptions {
		a.res.CorruptionsFixed += old.Corruptions - a.res.Corruptions
	}
	if a.res.Leaks < old.Leaks {
		a.res.LeaksFixed += old.Leaks - a.res.Leaks
	}
	a.res.Leaks += fresh
	return nil
}

// rebuilt is a refcount table under construction.
type rebuilt struct {
	*audit
	table []uint64
	grown bool // since it was last placed
}

func (a *audit) writeNewRefcounts() error {
	r := &rebuilt{audit: a}
	if err := r.blocks(0, a.counts.len()); err != nil {
		return err
	}
	var at, clusters int64
	for r.grown = true; r.grown; {
		r.grown = false
		clusters = a.clustersFor(int64(len(r.table)) * 8)
		at = a.counts.take(clusters, 0)
		if err := r.blocks(at, at+clusters); err != nil {
			return err
		}
	}
	if int64(len(r.table))*8 > maxRefTable {
		return qerr.New(syscall.EFBIG, "ERROR the refcount table would be too large")
	}
	if err := a.writeFile(encodeWords(r.table), at<<a.clusterBits); err != nil {
		return qerr.Errno(qerr.Of(err), "ERROR writing reftable")
	}
	if err := a.file.Flush(a.ctx); err != nil {
		return qerr.Errno(qerr.Of(err), "ERROR writing reftable")
	}
	fields := binary.BigEndian.AppendUint64(nil, uint64(at<<a.clusterBits))
	fields = binary.BigEndian.AppendUint32(fields, uint32(clusters))
	err := a.writeFile(fields, atRefTable)
	if err == nil {
		err = a.file.Flush(a.ctx)
	}
	if err != nil {
		return qerr.Errno(qerr.Of(err), "ERROR setting reftable")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hdr.refTableOffset, a.hdr.refTableCluster = uint64(at<<a.clusterBits), uint32(clusters)
	a.refTable = r.table
	a.refBlocks.DropAll()
	a.forgetMeta()
	return nil
}

// blocks writes the refcount blocks for the clusters from first to end that are used, making those that are not there
// yet; making one may use a cluster at or behind end, which is then covered as well.
func (r *rebuilt) blocks(first, end int64) error {
	perBlock := int64(1) << r.refBlockBits
	free := int64(0) // no block is placed before this
	for c := first; c < end; c++ {
		if r.counts.get(c) == 0 {
			continue
		}
		idx := c >> r.refBlockBits
		start := idx << r.refBlockBits
		if idx >= int64(len(r.table)) || r.table[idx] == 0 {
			free = max(free, start)
			at := r.counts.take(1, free)
			free = at
			end = max(end, at+1)
			r.enter(idx, at)
		}
		if err := r.writeBlock(idx, start, perBlock); err != nil {
			return qerr.Errno(qerr.Of(err), "ERROR writing refblock")
		}
		c = start + perBlock - 1
	}
	return nil
}

// enter puts a block's place into the table, which grows by whole clusters.
func (r *rebuilt) enter(idx, cluster int64) {
	if n := r.roundUp((idx+1)*8) / 8; n > int64(len(r.table)) {
		r.table = append(r.table, make([]uint64, n-int64(len(r.table)))...)
		r.grown = true
	}
	r.table[idx] = uint64(cluster << r.clusterBits)
}

func (r *rebuilt) writeBlock(idx, start, perBlock int64) error {
	off := hostOff(r.table[idx])
	r.mu.Lock()
	err := r.checkFree(off, r.clusterSize)
	r.mu.Unlock()
	if err != nil {
		return err
	}
	words := make([]uint64, r.clusterSize/8)
	for k := range perBlock {
		word, shift := r.refPlace(int(k))
		words[word] |= r.counts.get(start+k) << shift
	}
	return r.writeFile(encodeWords(words), int64(off))
}
