package qcow2

import (
	"context"
	"encoding/binary"
	"syscall"

	"platter/formats"
)

// maxBackingFormat is the longest name of a backing format, in bytes.
const maxBackingFormat = 15

// ChangeBacking rewrites the name and the format of the backing file in the header; an empty name removes both. What the
// tables say is on stable storage before the header, which is when ChangeBacking returns.
func (i *image) ChangeBacking(ctx context.Context, name, format string) error {
	if err := i.usable(); err != nil {
		return err
	}
	if name != "" && i.rawExternal() || len(name) > maxBackingName {
		return syscall.EINVAL
	}
	if name == "" {
		format = ""
	}
	ctx = context.WithoutCancel(ctx)
	if err := i.commit(ctx); err != nil {
		return err
	}
	if err := i.setBackingName(name, format[:min(len(format), maxBackingFormat)]); err != nil {
		return err
	}
	return i.commit(ctx)
}

// setBackingName changes the header in memory if it has room for the names.
func (i *image) setBackingName(name, format string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	was := *i.hdr
	i.hdr.backingName, i.hdr.ext.backingFormat = name, format
	if _, err := i.hdr.encode(); err != nil {
		*i.hdr = was
		return err
	}
	i.headerDirty = true
	return nil
}

// MakeEmpty drops all data of this layer, so that the backing file shows through. An image without features that keep
// clusters of their own gets the layout of a new one; otherwise all tables are dropped. The file is cut. Snapshots stay.
func (i *image) MakeEmpty(ctx context.Context) error {
	if err := i.usable(); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	for range 2 { // the second one stores the refcounts of what the first one has freed
		if err := i.commitAll(ctx); err != nil {
			return err
		}
	}
	if i.mayStartAnew() {
		return i.startAnew(ctx)
	}
	if err := i.dropBeyond(ctx, 0, i.roundUp(i.Size())); err != nil {
		return err
	}
	for range 2 {
		if err := i.commitAll(ctx); err != nil {
			return err
		}
	}
	return i.cutFile(ctx)
}

// mayStartAnew reports whether the layout of a new image can take the place of the present one: nothing else keeps
// clusters, one refcount block is enough, and the tables lie where they are to be, or nowhere near, so that no moment
// between the writes leaves more than leaks.
func (i *image) mayStartAnew() bool {
	l1Clusters := uint64(i.clustersFor(int64(len(i.l1)) * 8))
	if i.hdr.version < 3 || len(i.snapshots.list) > 0 || len(i.bitmaps.list) > 0 || i.hdr.ext.bitmaps.count > 0 ||
		i.hdr.cryptMethod == cryptLUKS || i.external() || 3+l1Clusters > 1<<i.refBlockBits || len(i.refTable) == 0 {
		return false
	}
	end, cs := hostOff((3+l1Clusters)<<i.clusterBits), hostOff(i.clusterSize)
	table, block, l1 := hostOff(i.hdr.refTableOffset), hostOff(i.refTable[0]&^refReserved), hostOff(i.hdr.l1Offset)
	inPlace := table == cs && int64(len(i.refTable))*8 == i.clusterSize && block == 2*cs && l1 == 3*cs
	return inPlace || table >= end && block >= end && (l1 == 3*cs || l1 >= end)
}

// startAnew makes the layout of a new image: first nothing is referred to any more, then the refcounts are written, then
// the header, with a flush between, and at last the file is cut.
func (i *image) startAnew(ctx context.Context) error {
	i.commitMu.Lock()
	defer i.commitMu.Unlock()
	i.mu.Lock()
	defer i.mu.Unlock()
	cs, n := i.clusterSize, int64(len(i.l1))*8
	end := 3*cs + i.roundUp(n)
	table := make([]uint64, cs/8)
	table[0] = uint64(2 * cs)
	wipe := []patch{{int64(i.hdr.l1Offset), make([]byte, n), formats.EventL1Update}}
	// In place, blocks but the first are forgotten before the first one forgets them.
	tables := []patch{{cs, encodeWords(table), formats.EventEmptyImagePrepare}}
	pointers := binary.BigEndian.AppendUint64(nil, uint64(3*cs))
	pointers = binary.BigEndian.AppendUint64(pointers, uint64(cs))
	pointers = binary.BigEndian.AppendUint32(pointers, 1)
	inner := []patch{{2 * cs, i.firstBlock(end >> i.clusterBits), formats.EventEmptyImagePrepare},
		{3 * cs, make([]byte, i.roundUp(n)), formats.EventEmptyImagePrepare}}
	header := []patch{{atL1Offset, pointers, formats.EventEmptyImagePrepare}}
	for _, step := range [][]patch{wipe, tables, inner, header} {
		err := i.writePatches(ctx, step)
		if err == nil {
			err = i.file.Flush(ctx)
		}
		if err != nil {
			i.corrupt.Store(true) // memory and file may differ; opened anew the image is sound, if with leaks
			return err
		}
	}
	clear(i.l1)
	i.hdr.l1Offset, i.hdr.refTableOffset, i.hdr.refTableCluster = uint64(3*cs), uint64(cs), 1
	i.refTable = table
	i.l2.DropAll()
	i.refBlocks.DropAll()
	i.clusters.forget()
	i.forgetMeta()
	clear(i.fresh)
	i.givenUp, i.discards = nil, nil
	i.nextFree, i.nextFreeByte = uint64(end>>i.clusterBits), 0
	if err := i.file.Truncate(ctx, end, formats.PreallocOff); err != nil {
		return err
	}
	if i.file.Limits().ZeroInit {
		i.virgin = hostOff(end)
	}
	return nil
}

// firstBlock is a refcount block in which the first n clusters are used once.
func (i *image) firstBlock(n int64) []byte {
	words := make([]uint64, i.clusterSize/8)
	for k := range n {
		word, shift := i.refPlace(int(k))
		words[word] |= 1 << shift
	}
	return encodeWords(words)
}

var _ formats.Emptier = (*image)(nil)
