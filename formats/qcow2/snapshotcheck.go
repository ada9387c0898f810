package qcow2

import (
	"encoding/binary"

	"platter/formats"
	"platter/formats/qerr"
)

// checkSnapshotTable reads the snapshot table, and with repair cuts off what is beyond the limits.
func (a *audit) checkSnapshotTable() error {
	if !a.flags.Has(formats.ForCheck) {
		return nil // read, and so sound, since it was opened
	}
	repair := a.fix&formats.FixErrors != 0
	raw := make([]byte, 12)
	if err := a.file.ReadAt(a.ctx, raw, atSnapshots); err != nil {
		a.snap.CheckErrors++
		a.env.Report("ERROR failed to read the snapshot table pointer from the image header: %s", qerr.Strerror(qerr.Of(err)))
		return err
	}
	h := a.hdr
	h.snapshots, h.snapshotsOffset = binary.BigEndian.Uint32(raw), binary.BigEndian.Uint64(raw[4:])
	r := snapshotReader{image: a.image, repair: repair, env: a.env}
	over := int64(h.snapshots) - maxSnapshots
	if over > 0 && repair {
		a.env.Report("Discarding %d overhanging snapshots", over)
		r.overhang, h.snapshots = over, maxSnapshots
	}
	if err := h.checkTable(h.snapshotsOffset, uint64(h.snapshots), snapshotHeadLen, snapshotHeadLen*maxSnapshots,
		"snapshot table"); err != nil {
		a.snap.CheckErrors++
		a.env.Report("qemu-img: ERROR %s", err)
		if over > 0 && !repair {
			a.env.Report("You can force-remove all %d overhanging snapshots with qemu-img check -r all", over)
		}
		a.snapshots, h.snapshots, h.snapshotsOffset = snapshotTable{}, 0, 0
		return err
	}
	if err := r.read(a.ctx); err != nil {
		a.snap.CheckErrors++
		a.env.Report("qemu-img: ERROR failed to read the snapshot table: %s", err)
		if hint := qerr.Hint(err); hint != "" {
			a.env.Report("%s", hint[:len(hint)-1])
		}
		a.snapshots, h.snapshots, h.snapshotsOffset = snapshotTable{}, 0, 0
		return err
	}
	a.snap.Corruptions += r.overhang + r.truncated
	if r.overhang > 0 {
		if err := a.storeSnapshotCount(r.overhang); err != nil {
			return err
		}
	}
	a.incompleteSnapshots(repair)
	return nil
}

// storeSnapshotCount writes the number of snapshots that are left to the header: the count that follows relies on it.
func (a *audit) storeSnapshotCount(dropped int64) error {
	err := a.writeFile(binary.BigEndian.AppendUint32(nil, a.hdr.snapshots), atSnapshots)
	if err == nil {
		err = a.file.Flush(a.ctx)
	}
	if err != nil {
		a.snap.CheckErrors++
		a.env.Report("ERROR failed to update the snapshot count in the image header: %s", qerr.Strerror(qerr.Of(err)))
		return err
	}
	a.snap.CorruptionsFixed += dropped
	a.snap.Corruptions -= dropped
	return nil
}

// incompleteSnapshots finds entries that lack what version 3 demands.
func (a *audit) incompleteSnapshots(repair bool) {
	if a.hdr.version < 3 {
		return
	}
	word := "ERROR"
	if repair {
		word = "Repairing"
	}
	for k, s := range a.snapshots.list {
		if s.extraLen < snapshotMinExtra {
			a.snap.Corruptions++
			a.env.Report("%s snapshot table entry %d is incomplete", word, k)
		}
	}
}

// repairSnapshotTable writes the table anew if its entries were repaired, now that refcounts can be relied on.
func (a *audit) repairSnapshotTable() error {
	n := a.snap.Corruptions
	if n == 0 || a.fix&formats.FixErrors == 0 {
		return nil
	}
	// Of the old table only what was counted can be given back.
	if end := int64(a.hdr.snapshotsOffset) + a.snapshots.size; end-a.fileLen >= a.clusterSize {
		a.snapshots.size = 0
	}
	if err := a.storeSnapshots(a.ctx, a.snapshots); err != nil {
		a.snap.CheckErrors++
		a.env.Report("ERROR failed to update snapshot table: %s", qerr.Strerror(qerr.Of(err)))
		return err
	}
	a.snap.CorruptionsFixed += n
	a.snap.Corruptions -= n
	return nil
}

// addTableResult adds what was found in the snapshot table to the result.
func (a *audit) addTableResult() {
	a.res.Corruptions += a.snap.Corruptions
	a.res.CorruptionsFixed += a.snap.CorruptionsFixed
	a.res.CheckErrors += a.snap.CheckErrors
}

// countSnapshots counts the snapshots' L1 tables with all that they refer to, then the table of snapshots.
func (a *audit) countSnapshots(fix formats.FixMode) error {
	for _, s := range a.snapshots.list {
		if a.inCluster(int64(s.l1Offset)) != 0 {
			a.env.Report("ERROR snapshot %s (%s) l1_offset=%#x: L1 table is not cluster aligned; snapshot table entry corrupted",
				s.ID, s.Name, int64(s.l1Offset))
			a.res.Corruptions++
			continue
		}
		if s.l1Size > maxL1Size/8 {
			a.env.Report("ERROR snapshot %s (%s) l1_size=%#x: L1 table is too large; snapshot table entry corrupted",
				s.ID, s.Name, s.l1Size)
			a.res.Corruptions++
			continue
		}
		if err := a.countL1(int64(s.l1Offset), s.l1Size, false, fix); err != nil {
			return err
		}
	}
	a.refer(int64(a.hdr.snapshotsOffset), a.snapshots.size)
	return nil
}
