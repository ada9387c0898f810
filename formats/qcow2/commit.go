package qcow2

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"platter/formats"
	"platter/formats/internal/tablecache"
	"platter/formats/qerr"
)

// writeUnit is the granularity in bytes at which changed parts of tables are written.
const writeUnit = 512

// patch is a piece of the file that is to be written.
type patch struct {
	off   int64
	data  []byte
	event formats.Event // raised before it is written, if it is one
}

// picture is all changed metadata at one moment.
type picture struct {
	refs, tables    []tablecache.Part // refcount blocks, L2 slices
	early, middle   []patch           // before refcounts can be relied on; entries of the refcount table
	late            []patch           // L1 entries, header
	l1, refTable    map[int]struct{}
	fresh           map[hostOff]bool
	l1Moved         bool
	refTableMoved   bool
	header, lazy    bool
	headerRaw       []byte
	linking         bool // the last step has begun: what it links may be reachable in the file
	givenUp         int  // releases that this commit makes durable
	earlyL2, lateL2 []patch
}

// commit brings all changed metadata to the file in an order that survives a crash, and all data that was written
// before it to stable storage. Concurrent callers share one pass.
func (i *image) commit(ctx context.Context) error {
	ticket := i.tickets.Add(1)
	i.commitMu.Lock()
	defer i.commitMu.Unlock()
	if i.committed >= ticket {
		return nil
	}
	upTo := i.tickets.Load()
	if err := i.commitLocked(context.WithoutCancel(ctx), false); err != nil {
		return err
	}
	i.committed = upTo
	return nil
}

// commitLocked is commit with commitMu held. all writes refcounts even if they are lazy.
func (i *image) commitLocked(ctx context.Context, all bool) error {
	i.mu.Lock()
	p, err := i.takePicture(all)
	i.mu.Unlock()
	if err == nil {
		err = i.writePicture(ctx, p)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if err != nil {
		i.putBack(p)
		return err
	}
	i.refBlocks.Written(p.refs)
	i.l2.Written(p.tables)
	for k := range i.givenUp[:p.givenUp] {
		i.givenUp[k].durable = true
	}
	if err := i.reclaim(ctx); err != nil {
		return err
	}
	return i.discardFree(ctx)
}

// takePicture takes what has changed. mu is held.
func (i *image) takePicture(all bool) (*picture, error) {
	p := &picture{l1: i.l1Dirty, refTable: i.refTableDirty, fresh: i.fresh, l1Moved: i.l1Moved,
		refTableMoved: i.refTableMoved, header: i.headerDirty, givenUp: len(i.givenUp)}
	i.l1Dirty, i.refTableDirty, i.fresh = map[int]struct{}{}, map[int]struct{}{}, map[hostOff]bool{}
	i.l1Moved, i.refTableMoved, i.headerDirty = false, false, false
	// Refcounts that the dirty bit covers may wait; a table that moves takes its blocks with it.
	if p.lazy = i.opts.lazy && i.hdr.incompat&incompatDirty != 0 && !all && !p.refTableMoved && len(p.refTable) == 0; !p.lazy {
		p.refs = i.refBlocks.TakeDirty(writeUnit)
	}
	p.tables = i.l2.TakeDirty(writeUnit)
	for _, t := range p.tables {
		w := patch{t.Off, t.Data, formats.EventL2Update}
		if p.fresh[i.tableStart(hostOff(t.Table.Off()))] {
			p.earlyL2 = append(p.earlyL2, w)
		} else {
			p.lateL2 = append(p.lateL2, w)
		}
	}
	i.pictureTables(p)
	return p, i.pictureHeader(p)
}

// tableStart is the beginning of the cluster that an L2 slice lies in, which is that of the table.
func (i *image) tableStart(slice hostOff) hostOff { return hostOff(i.clusterStart(int64(slice))) }

func (i *image) pictureTables(p *picture) {
	if p.refTableMoved {
		p.early = append(p.early, patch{int64(i.hdr.refTableOffset), encodeWords(i.refTable), formats.EventRefBlockAllocWriteTable})
		fields := binary.BigEndian.AppendUint64(nil, i.hdr.refTableOffset)
		fields = binary.BigEndian.AppendUint32(fields, i.hdr.refTableCluster)
		if p.l1Moved { // both at once: what the header names until now may fit together only (switchover.go)
			p.middle = append(p.middle, patch{atSize, append(i.l1Fields(), fields...), formats.EventRefBlockAllocSwitchTable})
		} else {
			p.middle = append(p.middle, patch{atRefTable, fields, formats.EventRefBlockAllocSwitchTable})
		}
	} else {
		p.middle = entryPatches(p.middle, p.refTable, i.refTable, int64(i.hdr.refTableOffset), formats.EventRefBlockAllocHookup)
	}
	if p.l1Moved {
		p.early = append(p.early, patch{int64(i.hdr.l1Offset), encodeWords(i.l1), formats.EventL1GrowWriteTable})
		if !p.refTableMoved {
			p.late = append(p.late, patch{atSize, i.l1Fields(), formats.EventL1GrowActivateTable})
		}
	} else {
		ev := formats.EventNone // snapshots change the table as well, but quietly
		if len(p.fresh) > 0 {
			ev = formats.EventL1Update
		}
		p.late = entryPatches(p.late, p.l1, i.l1, int64(i.hdr.l1Offset), ev)
	}
}

// l1Fields are the fields of the header that name the L1 table, from the size on.
func (i *image) l1Fields() []byte {
	fields := binary.BigEndian.AppendUint64(nil, i.hdr.size)
	fields = binary.BigEndian.AppendUint32(fields, i.hdr.cryptMethod)
	fields = binary.BigEndian.AppendUint32(fields, i.hdr.l1Size)
	return binary.BigEndian.AppendUint64(fields, i.hdr.l1Offset)
}

// entryPatches encodes changed entries of a table, whole sectors of them, because neighbours often change together.
func entryPatches(list []patch, changed map[int]struct{}, table []uint64, at int64, ev formats.Event) []patch {
	done := map[int]bool{}
	for idx := range changed {
		first := idx &^ (writeUnit/8 - 1)
		if done[first] {
			continue
		}
		done[first] = true
		raw := encodeWords(table[first:min(first+writeUnit/8, len(table))])
		list = append(list, patch{at + int64(first)*8, raw, ev})
	}
	return list
}

func (i *image) pictureHeader(p *picture) error {
	if !p.header {
		return nil
	}
	var err error
	p.headerRaw, err = i.hdr.encode()
	return err
}

// writePicture writes in the order that the package comment gives.
func (i *image) writePicture(ctx context.Context, p *picture) error {
	early := append(append([]patch(nil), p.early...), p.earlyL2...)
	for _, r := range p.refs {
		early = append(early, patch{r.Off, r.Data, formats.EventRefBlockUpdatePart})
	}
	late := append(p.lateL2, p.late...)
	if err := i.writePatches(ctx, early); err != nil {
		return err
	}
	if err := i.flushFiles(ctx); err != nil {
		return err
	}
	for k, step := range [][]patch{p.middle, late} {
		if len(step) == 0 {
			continue
		}
		p.linking = k == 1
		if err := i.writePatches(ctx, step); err != nil {
			return err
		}
		if i.creating {
			continue
		}
		if err := i.file.Flush(ctx); err != nil {
			return err
		}
	}
	if p.headerRaw != nil {
		return i.writeHeader(ctx, p.headerRaw)
	}
	return nil
}

// writePatches writes in ascending order and joins what touches.
func (i *image) writePatches(ctx context.Context, list []patch) error {
	slices.SortFunc(list, func(a, b patch) int { return cmp.Compare(a.off, b.off) })
	for k := 0; k < len(list); {
		off, data := list[k].off, list[k].data
		if list[k].event != formats.EventNone {
			i.events.Raise(list[k].event)
		}
		for k++; k < len(list) && list[k].off == off+int64(len(data)) && len(data) < maxJoined && !i.events.Heard(); k++ {
			data = append(data[:len(data):len(data)], list[k].data...)
		}
		if err := i.file.WriteAt(ctx, data, off, 0); err != nil {
			return err
		}
	}
	return nil
}

// maxJoined bounds the writes that patches are joined to.
const maxJoined = 1 << 20

func (i *image) flushFiles(ctx context.Context) error {
	if i.creating {
		return nil
	}
	if i.external() && i.data != nil {
		if err := i.data.Flush(ctx); err != nil {
			return err
		}
	}
	return i.file.Flush(ctx)
}

// putBack marks what a failed commit took as changed again. mu is held.
func (i *image) putBack(p *picture) {
	i.refBlocks.PutBack(p.refs)
	i.l2.PutBack(p.tables)
	for k := range p.l1 {
		i.l1Dirty[k] = struct{}{}
	}
	for k := range p.refTable {
		i.refTableDirty[k] = struct{}{}
	}
	for k := range p.fresh {
		if !p.linking {
			i.fresh[k] = true
		}
	}
	i.l1Moved = i.l1Moved || p.l1Moved
	i.refTableMoved = i.refTableMoved || p.refTableMoved
	i.headerDirty = i.headerDirty || p.header
}

// commitTables brings new tables to the file at once, where somebody listens to events: an error that is made to happen then
// meets the request that needs the table, as in QEMU.
func (i *image) commitTables(ctx context.Context) error {
	if !i.events.Heard() || i.creating {
		return nil
	}
	i.mu.Lock()
	wanted := len(i.fresh) > 0 || len(i.refTableDirty) > 0 || i.refTableMoved
	i.mu.Unlock()
	if !wanted {
		return nil
	}
	return i.commit(ctx)
}

// leastDirty is how many bytes of changed L2 tables are not many yet, however small the disk and so the cache: a commit
// waits for all data that was written before it.
const leastDirty = 1 << 20

// crowded reports whether so much metadata is changed that it should go to the file before more is.
func (i *image) crowded() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.l2.Dirty() > max(i.l2.Limit()*3/4, leastDirty/int(i.l2.TableSize())) || i.refBlocks.Dirty() > max(i.refBlocks.Limit()*3/4, 64) ||
		len(i.givenUp) > 1<<14
}

// writeIncompat writes the incompatible feature bits at once, and only them.
func (i *image) writeIncompat(ctx context.Context, features uint64) error {
	raw := binary.BigEndian.AppendUint64(nil, features)
	if err := i.file.WriteAt(ctx, raw, atIncompat, 0); err != nil {
		return err
	}
	return i.file.Flush(ctx)
}

// setIncompat changes the incompatible feature bits, in the file first. mu is held.
func (i *image) setIncompat(ctx context.Context, features uint64) error {
	err := i.writeIncompat(ctx, features)
	if err == nil {
		i.hdr.incompat = features
	}
	return err
}

// markDirty sets the dirty bit before the first change whose refcounts may be written late. mu is held.
func (i *image) markDirty(ctx context.Context) error {
	if !i.opts.lazy || i.hdr.incompat&incompatDirty != 0 {
		return nil
	}
	return i.setIncompat(ctx, i.hdr.incompat|incompatDirty)
}

// Flush makes everything that completed before survive a loss of power.
func (i *image) Flush(ctx context.Context) error {
	if err := i.usable(); err != nil {
		return err
	}
	if !i.writable() {
		return nil
	}
	return i.commit(ctx)
}

// lost words that changed metadata could not be written when the image was closed.
func (i *image) lost(err error) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	refs := qerr.Errno(qerr.Of(err), "Failed to flush the refcount block cache")
	switch {
	case i.l2.Dirty() > 0 && i.refBlocks.Dirty() > 0:
		err = qerr.Errno(qerr.Of(err), "Failed to flush the L2 table cache")
		return qerr.WithHint(err, fmt.Sprintf("%s: %s\n", i.env.Program, qerr.Text(refs)))
	case i.l2.Dirty() > 0:
		return qerr.Errno(qerr.Of(err), "Failed to flush the L2 table cache")
	case i.refBlocks.Dirty() > 0:
		return refs
	}
	return err
}

// Close writes what is left, twice: the second time it is the refcounts of clusters that the first one has freed.
func (i *image) Close() error {
	i.stopCleaning()
	i.clusters.close()
	if !i.writable() || i.usable() != nil {
		return nil
	}
	ctx := context.Background()
	i.commitMu.Lock()
	defer i.commitMu.Unlock()
	err := i.storeBitmaps(ctx)
	for range 2 {
		if e := i.commitLocked(ctx, true); e != nil {
			if err == nil {
				err = i.lost(e)
			}
			return err
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.hdr.incompat&incompatDirty != 0 && err == nil {
		err = i.setIncompat(ctx, i.hdr.incompat&^incompatDirty)
	}
	return err
}
