package qcow2

import (
	"context"
	"encoding/binary"
	"syscall"

	"platter/formats"
	"platter/formats/internal/tablecache"
	"platter/formats/qerr"
)

// What a snapshot operation does to refcounts it does to all clusters of a disk. So it goes through L2 tables as they are
// in the file, past the cache, joins neighbouring clusters to runs, and changes whole runs in the refcount blocks.

// maxDirtyRefs bounds the changed refcount blocks in memory, in bytes.
const maxDirtyRefs = 256 << 20

// treeCount is a change of the refcounts of all that an L1 table refers to.
type treeCount struct {
	*image
	delta int64
	done  uint64 // clusters changed, counted as often as they were
	limit uint64 // stop there
	why   cause
	words []uint64
}

var errLimit = qerr.New(syscall.ECANCELED, "as far as was asked for")

// countTree adds delta, 1 or -1, to the refcounts of the L2 tables and clusters that an L1 table refers to, as often as
// it does. When it fails nothing is changed. mu is not held; the tables in the file are up to date.
func (i *image) countTree(ctx context.Context, l1 []uint64, delta int64, why cause) error {
	c := treeCount{image: i, delta: delta, limit: 1<<64 - 1, why: why}
	err := c.run(ctx, l1)
	if err != nil {
		back := treeCount{image: i, delta: -delta, limit: c.done, why: causeNever}
		// That this stops early can only leak clusters.
		_ = back.run(ctx, l1)
	}
	i.mu.Lock()
	i.clusters.forget()
	i.mu.Unlock()
	return err
}

func (c *treeCount) run(ctx context.Context, l1 []uint64) error {
	return c.eachTable(ctx, l1, func(_ int, off int64, table []byte) error {
		if int64(c.refBlocks.Dirty())*c.clusterSize > maxDirtyRefs {
			if err := c.commitAll(ctx); err != nil {
				return err
			}
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		err := c.eachRun(off, table, func(first, n uint64) error { return c.add(ctx, first, n) })
		if err != nil {
			return err
		}
		return c.add(ctx, uint64(off)>>c.clusterBits, 1)
	})
}

// eachTable reads every L2 table that an L1 table refers to from the file.
func (i *image) eachTable(ctx context.Context, l1 []uint64, f func(idx int, off int64, table []byte) error) error {
	table := make([]byte, i.clusterSize)
	for idx, e := range l1 {
		off := int64(e & entryOffset)
		if off == 0 {
			continue
		}
		if i.inCluster(off) != 0 {
			return i.signalCorruption(true, "L2 table offset %#x unaligned (L1 index: %#x)", off, idx)
		}
		if i.l2.Find(off) == nil {
			i.events.Raise(formats.EventL2Load)
		}
		if err := i.file.ReadAt(ctx, table, off); err != nil {
			return err
		}
		if err := f(idx, off, table); err != nil {
			return err
		}
	}
	return nil
}

// eachRun gives the host clusters that the entries of an L2 table refer to, neighbours together.
func (i *image) eachRun(tableOff int64, table []byte, f func(first, n uint64) error) error {
	step := 8 * i.entryWords
	var first, n uint64
	for at := 0; at < len(table); at += step {
		entry := binary.BigEndian.Uint64(table[at:])
		host := entry & entryOffset
		if entry&flagCompressed == 0 {
			if host == 0 {
				continue
			}
			if i.inCluster(int64(host)) != 0 {
				return i.signalCorruption(true, "Cluster allocation offset %#x unaligned (L2 offset: %#x, L2 index: %#x)",
					host, tableOff, at/step)
			}
			if n > 0 && host>>i.clusterBits == first+n {
				n++
				continue
			}
		}
		if n > 0 {
			if err := f(first, n); err != nil {
				return err
			}
			n = 0
		}
		if entry&flagCompressed == 0 {
			first, n = host>>i.clusterBits, 1
			continue
		}
		off, length := i.compressedAt(entry &^ flagCopied)
		from, to := uint64(off)>>i.clusterBits, uint64(int64(off)+length-1)>>i.clusterBits
		if err := f(from, to-from+1); err != nil {
			return err
		}
	}
	if n > 0 {
		return f(first, n)
	}
	return nil
}

// add changes the refcounts of n clusters. mu is held.
func (c *treeCount) add(ctx context.Context, first, n uint64) error {
	if c.done+n > c.limit {
		n = c.limit - c.done
		if n == 0 {
			return errLimit
		}
	}
	perBlock := uint64(1) << c.refBlockBits
	for n > 0 {
		t, err := c.refBlockOf(ctx, first)
		if err != nil {
			return err
		}
		if t == nil {
			return qerr.New(syscall.EINVAL, "cluster %#x has no refcount", first)
		}
		idx := first & (perBlock - 1)
		part := min(n, perBlock-idx)
		from, _ := c.refPlace(int(idx))
		to, _ := c.refPlace(int(idx + part - 1))
		c.words = c.words[:0]
		for w := from; w <= to; w++ {
			c.words = append(c.words, t.Get(w))
		}
		got, err := c.addIn(c.words, from, idx, part, first)
		c.refBlocks.Set(t, from, c.words...)
		c.done += got
		if err != nil {
			return err
		}
		first, n = first+part, n-part
	}
	return nil
}

// addIn changes the refcounts idx to idx+n of a block, whose words from word base on are given. It says how many it has
// changed. first is the cluster that idx stands for.
func (c *treeCount) addIn(words []uint64, base int, idx, n, first uint64) (uint64, error) {
	mask := c.refMask()
	freed := uint64(0) // a run of clusters that end at k
	for k := range n {
		w, shift := c.refPlace(int(idx + k))
		old := words[w-base] >> shift & mask
		if c.delta > 0 && old >= c.refMax || c.delta < 0 && old == 0 {
			c.free(first+k-freed, freed)
			return k, qerr.New(syscall.EINVAL, "the refcount of cluster %#x cannot be changed from %d by %d", first+k, old, c.delta)
		}
		now := (old + uint64(c.delta)) & mask
		words[w-base] = words[w-base]&^(mask<<shift) | now<<shift
		if now == 0 {
			freed++
		} else if freed > 0 {
			c.free(first+k-freed, freed)
			freed = 0
		}
	}
	c.free(first+n-freed, freed)
	return n, nil
}

// free forgets what is known of clusters whose refcount has fallen to 0. The caller of countTree drops the cache of L2
// tables, so that they need not be looked for one by one. mu is held.
func (c *treeCount) free(first, n uint64) {
	if n == 0 {
		return
	}
	c.nextFree = min(c.nextFree, first)
	off := hostOff(first << c.clusterBits)
	end := off + hostOff(n<<c.clusterBits)
	c.virgin = max(c.virgin, end)
	if c.nextFreeByte >= off && c.nextFreeByte < end {
		c.nextFreeByte = 0
	}
	if c.opts.discard[c.why] {
		c.queueDiscard(off, int64(end-off))
	}
}

// maxPatches bounds the changed L2 tables that are kept to be written together, in bytes.
const maxPatches = 16 << 20

// markCopied sets the COPIED flags of the L2 tables that an L1 table refers to right, in the file, and those of the L1
// table in memory. shared says that everything is referred to twice at least, so that no refcount need be looked at. The
// writes are not flushed. mu is not held.
func (i *image) markCopied(ctx context.Context, l1 []uint64, shared bool) error {
	var list []patch
	size := 0
	err := i.eachTable(ctx, l1, func(idx int, off int64, table []byte) error {
		i.mu.Lock()
		lo, hi, err := i.copiedFlags(ctx, table, shared)
		if err == nil && !shared {
			var n uint64
			if n, err = i.refcount(ctx, uint64(off)>>i.clusterBits); err == nil {
				l1[idx] = withFlag(l1[idx], n == 1)
			}
		}
		i.mu.Unlock()
		if err != nil || hi <= lo {
			return err
		}
		lo, hi = lo/writeUnit*writeUnit, min((hi+writeUnit-1)/writeUnit*writeUnit, len(table))
		list = append(list, patch{off: off + int64(lo), data: append([]byte(nil), table[lo:hi]...)})
		if size += hi - lo; size < maxPatches {
			return nil
		}
		err = i.writePatches(ctx, list)
		list, size = list[:0], 0
		return err
	})
	if err != nil {
		return err
	}
	for idx := range l1 {
		if shared || l1[idx]&entryOffset == 0 {
			l1[idx] &^= flagCopied
		}
	}
	return i.writePatches(ctx, list)
}

// copiedFlags sets the flags of a table's entries right and gives the range of bytes that it has changed. mu is held.
func (i *image) copiedFlags(ctx context.Context, table []byte, shared bool) (lo, hi int, err error) {
	step := 8 * i.entryWords
	lo = len(table)
	var block *tablecache.Table // of the cluster before, which is the next one's most of the time
	blockIdx := uint64(1<<64 - 1)
	for at := 0; at < len(table); at += step {
		entry := binary.BigEndian.Uint64(table[at:])
		if entry == 0 {
			continue
		}
		want := entry &^ flagCopied
		if !shared && entry&flagCompressed == 0 && entry&entryOffset != 0 {
			c := entry & entryOffset >> i.clusterBits
			if c>>i.refBlockBits != blockIdx {
				if block, err = i.refBlockOf(ctx, c); err != nil {
					return 0, 0, err
				}
				blockIdx = c >> i.refBlockBits
			}
			want = withFlag(entry, block != nil && i.refcountIn(block, int(c&(1<<i.refBlockBits-1))) == 1)
		}
		if want != entry {
			binary.BigEndian.PutUint64(table[at:], want)
			lo, hi = min(lo, at), at+8
		}
	}
	return lo, hi, nil
}

// commitAll is commit with all refcounts, lazy ones too.
func (i *image) commitAll(ctx context.Context) error {
	i.commitMu.Lock()
	defer i.commitMu.Unlock()
	return i.commitLocked(ctx, true)
}
