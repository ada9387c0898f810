package qcow2

import (
	"context"
	"encoding/binary"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

// refcountSize is how many refcount blocks, and clusters of refcount table, an image of that many other clusters needs,
// which count themselves as well. generous leaves room in the table for half as many blocks again.
func refcountSize(clusters, clusterSize int64, order uint, generous bool) (blocks, table int64) {
	perTable, perBlock := clusterSize/8, clusterSize*8>>order
	for n := int64(0); ; {
		last := n
		blocks = (clusters + table + blocks + perBlock - 1) / perBlock
		table = (blocks + perTable - 1) / perTable
		n = clusters + blocks + table
		if n == last && generous {
			clusters += (table + 1) / 2
			n, generous = 0, false
			continue
		}
		if n == last {
			return blocks, table
		}
	}
}

// refcountArea makes a new refcount table behind cluster start, together with the refcount blocks that it takes to count
// it, all that is before, and extra clusters behind it. exact makes the table no larger than that. newBlock, if not 0, is
// a block that the table is to name at newIndex. It returns the offset behind the area. mu is held.
func (i *image) refcountArea(ctx context.Context, start, extra uint64, exact bool, newIndex uint64, newBlock hostOff) (hostOff, error) {
	i.events.Raise(formats.EventRefTableGrow)
	total, _ := refcountSize(int64(start+extra), i.clusterSize, i.refOrder, !exact)
	entries := total
	if !exact {
		entries += (total + 1) / 2
	}
	size := i.roundUp(entries * 8)
	if size > maxRefTable {
		return 0, qerr.New(syscall.EFBIG, "File too large")
	}
	if i.creating { // new files are compared byte for byte: the former table is as it was left
		if err := i.file.WriteAt(ctx, encodeWords(i.refTable), int64(i.hdr.refTableOffset), 0); err != nil {
			return 0, err
		}
	}
	table := make([]uint64, size/8)
	copy(table, i.refTable)
	if newBlock != 0 {
		table[newIndex] = uint64(newBlock)
	}
	first := start >> i.refBlockBits
	tableAt := start
	for k := first; k < uint64(total); k++ {
		if table[k] == 0 {
			tableAt++
		}
	}
	end := tableAt + uint64(size>>i.clusterBits)
	if err := i.hold(ctx, hostOff(start<<i.clusterBits), int64(end-start)<<i.clusterBits); err != nil {
		return 0, err
	}
	old := i.refTable
	i.refTable = table
	at := start
	for k := first; k < uint64(total); k++ {
		if table[k] == 0 {
			off := at << i.clusterBits
			t := i.refBlocks.Insert(int64(off), nil)
			i.refBlocks.MarkDirty(t, 0, t.Len())
			table[k] = off
			i.noteMeta(hostOff(off), i.clusterSize, refcountBlock)
			at++
		}
	}
	if err := i.countArea(start, end); err != nil {
		i.refTable = old
		return 0, err
	}
	i.moveRefTable(hostOff(tableAt<<i.clusterBits), len(old))
	return hostOff(end << i.clusterBits), nil
}

// countArea sets the refcounts of clusters [start, end), which all have their blocks, to 1.
func (i *image) countArea(start, end uint64) error {
	for c := start; c < end; c++ {
		t, err := i.refBlockOf(context.Background(), c)
		if err != nil {
			return err
		}
		if t == nil {
			return qerr.New(syscall.EIO, "cluster %#x has no refcount block", c)
		}
		i.setRefcountIn(t, int(c&(1<<i.refBlockBits-1)), 1)
	}
	return nil
}

// moveRefTable makes the table in memory the one at off and gives the former place up.
func (i *image) moveRefTable(off hostOff, oldEntries int) {
	was := hostOff(i.hdr.refTableOffset)
	size := int64(len(i.refTable)) * 8
	i.refTableMoved = true
	i.hdr.refTableOffset, i.hdr.refTableCluster = uint64(off), uint32(i.clustersFor(size))
	i.noteMeta(off, size, refcountTable)
	i.release(was, int64(oldEntries)*8, causeOther)
	// QEMU frees the former table at once. The run of data clusters that is looked for next is longer than the table most of
	// the time, so that the search leaves the table's place behind for good. Here the place is free only after the next
	// commit; for files to look the same the search starts there now, and does not return then.
	if k := len(i.givenUp) - 1; k >= 0 {
		i.nextFree = min(i.nextFree, uint64(was)>>i.clusterBits)
		i.givenUp[k].passed = true
	}
}

// encodeWords is the big-endian form of a table.
func encodeWords(words []uint64) []byte {
	raw := make([]byte, len(words)*8)
	for k, w := range words {
		binary.BigEndian.PutUint64(raw[k*8:], w)
	}
	return raw
}
