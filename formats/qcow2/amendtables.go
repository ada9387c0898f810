package qcow2

import (
	"context"
	"encoding/binary"
	"syscall"

	"platter/formats/qerr"
)

// downgrade makes a version 3 image one of version 2, once it holds nothing that version 2 does not know.
func (i *image) downgrade(ctx context.Context, m amendment) error {
	if m.version >= i.hdr.version {
		return nil
	}
	refuse := func(format string, a ...any) error { return qerr.New(syscall.ENOTSUP, format, a...) }
	switch {
	case i.refOrder != 4:
		return refuse("compat=0.10 requires refcount_bits=16")
	case i.external():
		return refuse("Cannot downgrade an image with a data file")
	}
	for _, s := range i.snapshots.list {
		if s.VMStateSize > 1<<32-1 || s.DiskSize != i.Size() {
			return refuse("Internal snapshots prevent downgrade of image")
		}
	}
	if err := i.markClean(ctx); err != nil {
		return err
	}
	if i.hdr.incompat&^incompatCompression != 0 {
		return refuse("Cannot downgrade an image with incompatible features 0x%x set", i.hdr.incompat)
	}
	if i.hdr.incompat&incompatCompression != 0 {
		if err := i.commitAll(ctx); err != nil {
			return err
		}
		if found, err := i.hasCompressed(ctx); err != nil || found {
			if err == nil {
				err = refuse("Cannot downgrade an image with zstd compression type and existing compressed clusters")
			}
			return err
		}
	}
	if err := i.settled(ctx, i.expandZeroes); err != nil {
		return qerr.Errno(qerr.Of(err), "Failed to turn zero into data clusters")
	}
	was := *i.hdr
	h := i.hdr
	h.version, h.compat, h.incompat, h.autoclear, h.unknownFields, h.compression = 2, 0, 0, 0, nil, compressionZlib
	if err := i.storeHeader(ctx); err != nil {
		*i.hdr = was
		return err
	}
	i.opts.lazy, i.opts.keepRefs = false, false
	return nil
}

// expandZeroes replaces zero clusters in all L2 tables: by nothing where no backing file could show through, by clusters of
// zeroes otherwise. The caches of L2 tables are empty afterwards.
func (i *image) expandZeroes(ctx context.Context) error {
	tables, err := i.allL1(ctx)
	if err != nil {
		return err
	}
	var list []patch
	seen := map[int64]bool{}
	size := 0
	store := func() error {
		// Refcounts and zeroes are in the file before a table refers to them.
		err := i.commitAll(ctx)
		if err == nil {
			err = i.writePatches(ctx, list)
		}
		list, size = nil, 0
		return err
	}
	for _, l1 := range tables {
		err := i.eachTable(ctx, l1, func(idx int, off int64, table []byte) error {
			if seen[off] {
				return nil
			}
			seen[off] = true
			changed, err := i.expandTable(ctx, idx, off, table)
			if err != nil || !changed {
				return err
			}
			list = append(list, patch{off: off, data: append([]byte(nil), table...)})
			if size += len(table); size < maxPatches {
				return nil
			}
			return store()
		})
		if err != nil {
			return err
		}
	}
	if err := store(); err != nil {
		return err
	}
	return i.file.Flush(ctx)
}

// expandTable changes the zero clusters of one L2 table, which lies at off and is number idx of its disk. New clusters are referred to as often as the
// table is.
func (i *image) expandTable(ctx context.Context, idx int, off int64, table []byte) (changed bool, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	shared, err := i.refcount(ctx, uint64(off)>>i.clusterBits)
	if err != nil {
		return false, err
	}
	for at := 0; at < len(table); at += 8 {
		entry := binary.BigEndian.Uint64(table[at:])
		k := i.clusterKind(entry)
		if k != zeroPlain && k != zeroAlloc {
			continue
		}
		changed = true
		host := hostOff(entry & entryOffset)
		if i.inCluster(int64(host)) != 0 {
			return false, i.signalCorruption(true, "Cluster allocation offset %#x unaligned (L2 offset: %#x, L2 index: %#x)",
				int64(host), off, at/8)
		}
		if k == zeroPlain {
			if i.backing == nil {
				binary.BigEndian.PutUint64(table[at:], 0)
				continue
			}
			if host, err = i.allocClusters(ctx, i.clusterSize); err != nil {
				return false, err
			}
			if shared > 1 {
				if err := i.addRefcounts(ctx, host, i.clusterSize, int64(shared-1), causeNever); err != nil {
					return false, err
				}
			}
		}
		if err := i.zeroCluster(ctx, guestOff((int64(idx)<<i.l2Bits+int64(at/8))<<i.clusterBits), host); err != nil {
			return false, err
		}
		binary.BigEndian.PutUint64(table[at:], withFlag(uint64(host), shared == 1))
	}
	return changed, nil
}

// zeroCluster makes the cluster at host read as zeroes, decrypted as well. mu is held.
func (i *image) zeroCluster(ctx context.Context, g guestOff, host hostOff) error {
	if err := i.checkWrite(host, i.clusterSize); err != nil {
		return err
	}
	if i.cipher == nil {
		err := i.data.WriteZeroes(ctx, int64(host), i.clusterSize, 0)
		if qerr.Of(err) != syscall.ENOTSUP {
			return err
		}
	}
	return i.writeOwn(ctx, make([]byte, i.clusterSize), g, host)
}

// hasCompressed reports whether an L2 table, of the disk or of a snapshot, refers to compressed clusters.
func (i *image) hasCompressed(ctx context.Context) (bool, error) {
	tables, err := i.allL1(ctx)
	if err != nil {
		return false, err
	}
	found := false
	for _, l1 := range tables {
		err := i.eachTable(ctx, l1, func(_ int, _ int64, table []byte) error {
			for at := 0; at < len(table) && !found; at += 8 * i.entryWords {
				found = binary.BigEndian.Uint64(table[at:])&flagCompressed != 0
			}
			return nil
		})
		if err != nil || found {
			return found, err
		}
	}
	return false, nil
}

// allL1 gives the L1 tables of the disk and of all snapshots.
func (i *image) allL1(ctx context.Context) ([][]uint64, error) {
	tables := [][]uint64{i.l1}
	for _, s := range i.snapshots.list {
		l1, err := i.snapshotL1(ctx, s)
		if err != nil {
			return nil, err
		}
		tables = append(tables, l1)
	}
	return tables, nil
}

// newRefcounts are refcount structures of another width, under construction.
type newRefcounts struct {
	*image
	order  uint
	table  []uint64
	at     hostOff // of the table, 0 if it has no place yet
	placed int64   // entries that the place has room for
}

// amendRefcounts changes the width of refcounts: new blocks and a new table are written to free clusters, a write of the
// header makes them valid, and the former ones are given up.
func (i *image) amendRefcounts(ctx context.Context, m amendment) error {
	if m.refOrder == i.refOrder {
		return nil
	}
	if m.version < 3 && m.refOrder != 4 {
		return qerr.New(syscall.EINVAL, "Refcount widths other than 16 bits require compatibility level 1.1 or above (use "+
			"compat=1.1 or greater)")
	}
	return i.settled(ctx, func(ctx context.Context) error {
		n := newRefcounts{image: i, order: m.refOrder}
		if err := n.place(ctx); err != nil {
			n.giveUp(ctx)
			return err
		}
		if err := n.write(ctx); err != nil {
			n.giveUp(ctx)
			return err
		}
		return n.take(ctx)
	})
}

// place finds clusters for all blocks and the table, until none of them asks for more.
func (n *newRefcounts) place(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for more := true; more; {
		more = false
		err := n.eachBlock(ctx, func(idx int, counts []uint64) error {
			if counts == nil {
				return nil
			}
			if idx >= len(n.table) {
				n.table = append(n.table, make([]uint64, n.roundUp(int64(idx+1)*8)/8-int64(len(n.table)))...)
			}
			if n.table[idx] != 0 {
				return nil
			}
			off, err := n.allocClusters(ctx, n.clusterSize)
			n.table[idx] = uint64(off)
			more = true
			return err
		})
		if err != nil {
			return err
		}
		if !more {
			break
		}
		if n.at != 0 {
			n.freeNow(ctx, n.at, n.placed*8)
		}
		n.placed = int64(len(n.table))
		if n.placed*8 > maxRefTable {
			n.at = 0
			return qerr.New(syscall.EFBIG, "the refcount table would be too large")
		}
		if n.at, err = n.allocClusters(ctx, n.placed*8); err != nil {
			n.at = 0
			return err
		}
	}
	return nil
}

// eachBlock gives the refcounts that new block idx has to hold; nil if they are all 0. mu is held.
func (n *newRefcounts) eachBlock(ctx context.Context, f func(idx int, counts []uint64) error) error {
	per := uint64(8) << n.clusterBits >> n.order
	total := uint64(len(n.refTable)) << n.refBlockBits
	perOld := uint64(1) << n.refBlockBits
	counts := make([]uint64, per)
	for first := uint64(0); first < total; first += per {
		any := false
		for c := first; c < min(first+per, total); {
			end := min((c>>n.refBlockBits+1)<<n.refBlockBits, first+per)
			t, err := n.refBlockOf(ctx, c)
			if err != nil {
				return err
			}
			if t == nil { // most of the table, as a rule
				c = end
				continue
			}
			for ; c < end; c++ {
				v := n.refcountIn(t, int(c&(perOld-1)))
				if n.order < 6 && v>>(1<<n.order) != 0 {
					return qerr.New(syscall.EINVAL, "Cannot decrease refcount entry width to %d bits: Cluster at offset %#x has "+
						"a refcount of %d", 1<<n.order, c<<n.clusterBits, v)
				}
				counts[c-first] = v
				any = any || v != 0
			}
		}
		given := counts
		if !any {
			given = nil
		}
		if err := f(int(first/per), given); err != nil {
			return err
		}
		if any {
			clear(counts)
		}
	}
	return nil
}

// write writes the blocks and the table, together with the old refcounts of their own clusters.
func (n *newRefcounts) write(ctx context.Context) error {
	if err := n.commitAll(ctx); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	wide := image{refOrder: n.order}
	err := n.eachBlock(ctx, func(idx int, counts []uint64) error {
		if counts == nil {
			return nil
		}
		words := make([]uint64, n.clusterSize/8)
		for k, v := range counts {
			word, shift := wide.refPlace(k)
			words[word] |= v << shift
		}
		return n.file.WriteAt(ctx, encodeWords(words), int64(n.table[idx]), 0)
	})
	if err == nil {
		err = n.file.WriteAt(ctx, encodeWords(n.table), int64(n.at), 0)
	}
	if err == nil {
		err = n.file.Flush(ctx)
	}
	return err
}

// take lets the header name the new structures and frees the old ones, whose refcounts are the new ones now.
func (n *newRefcounts) take(ctx context.Context) error {
	i, was := n.image, *n.hdr
	i.hdr.refOrder, i.hdr.refTableOffset = uint32(n.order), uint64(n.at)
	i.hdr.refTableCluster = uint32(i.clustersFor(int64(len(n.table)) * 8))
	if err := i.storeHeader(ctx); err != nil {
		*i.hdr = was
		n.giveUp(ctx)
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	old := i.refTable
	i.refTable = n.table
	i.setWidth()
	i.refBlocks.DropAll()
	i.forgetMeta()
	for _, e := range old {
		if off := e &^ refReserved; off != 0 {
			if err := i.addRefcounts(ctx, hostOff(off), i.clusterSize, -1, causeOther); err != nil {
				return err
			}
		}
	}
	if err := i.addRefcounts(ctx, hostOff(was.refTableOffset), int64(len(old))*8, -1, causeOther); err != nil {
		return err
	}
	return i.discardFree(ctx)
}

// giveUp frees what was taken. A failed attempt leaks it at worst.
func (n *newRefcounts) giveUp(ctx context.Context) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, off := range n.table {
		if off != 0 {
			n.freeNow(ctx, hostOff(off), n.clusterSize)
		}
	}
	if n.at != 0 {
		n.freeNow(ctx, n.at, n.placed*8)
	}
}
