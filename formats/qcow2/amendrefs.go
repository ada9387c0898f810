package qcow2

import (
	"context"
	"syscall"

	"platter/formats/qerr"
)

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
