package qcow2

import (
	"bytes"
	"context"
	"encoding/binary"
	"strconv"
	"strings"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

// Limits of the snapshot table as QEMU sets them, and the lengths of its parts ("Snapshots" of the specification).
const (
	maxSnapshotTable = 1024 * maxSnapshots // bytes
	maxSnapshotExtra = 1024                // bytes of an entry
	snapshotHeadLen  = 40
	snapshotExtraLen = 24 // size of the VM state, size of the disk, instruction count
	snapshotMinExtra = 16 // what version 3 demands
)

// snapshot is an entry of the snapshot table.
type snapshot struct {
	formats.Snapshot
	l1Offset hostOff
	l1Size   int64  // entries
	extraLen int    // of all extra data, as read
	unknown  []byte // extra data behind what is known, kept as it is
	views    int    // open ones
}

// snapshotTable is the list of internal snapshots.
type snapshotTable struct {
	list []*snapshot
	size int64 // of the table in the file, in bytes
}

// loadSnapshots reads the snapshot table. Who checks an image reads it in the course of the check.
func (i *image) loadSnapshots(ctx context.Context) error {
	if i.flags.Has(formats.ForCheck) {
		return nil
	}
	r := snapshotReader{image: i}
	return r.read(ctx)
}

// snapshotReader reads the snapshot table; with repair it cuts off what is beyond the limits and counts that.
type snapshotReader struct {
	*image
	repair    bool
	env       *formats.Env
	overhang  int64 // snapshots cut off
	truncated int64 // entries with too much extra data
	buf       []byte
	at        int64 // place in the file of buf
}

// next gives n bytes at off, which are read in larger pieces. What is behind the end of the file is zeroes.
func (r *snapshotReader) next(ctx context.Context, off, n int64) ([]byte, error) {
	if r.buf == nil || off < r.at || off+n > r.at+int64(len(r.buf)) {
		r.buf, r.at = make([]byte, max(n, 64<<10)), off
		if err := r.file.ReadAt(ctx, r.buf, off); err != nil {
			r.buf = nil
			return nil, qerr.Errno(qerr.Of(err), "Failed to read snapshot table")
		}
	}
	return r.buf[off-r.at:][:n], nil
}

func (r *snapshotReader) read(ctx context.Context) error {
	t := snapshotTable{}
	start := int64(r.hdr.snapshotsOffset)
	off, length := start, int64(0)
	for k := range int(r.hdr.snapshots) {
		before := off
		off, length = (off+7)&^7, (length+7)&^7
		s, end, err := r.entry(ctx, k, off)
		if err != nil {
			return err
		}
		length += snapshotHeadLen + int64(s.extraLen+len(s.ID)+len(s.Name))
		if off = end; length > maxSnapshotTable || off-start > 1<<31-1 {
			over := int64(r.hdr.snapshots) - int64(k)
			if !r.repair {
				err := qerr.New(syscall.EFBIG, "Snapshot table is too big")
				return qerr.WithHint(err, "You can force-remove all "+strconv.FormatInt(over, 10)+
					" overhanging snapshots with qemu-img check -r all\n")
			}
			r.env.Report("Discarding %d overhanging snapshots (snapshot table is too big)", over)
			r.overhang += over
			off = before
			break
		}
		t.list = append(t.list, s)
	}
	t.size = off - start
	r.hdr.snapshots = uint32(len(t.list))
	r.snapshots = t
	return nil
}

// entry reads entry k at off and returns where it ends.
func (r *snapshotReader) entry(ctx context.Context, k int, off int64) (*snapshot, int64, error) {
	head, err := r.next(ctx, off, snapshotHeadLen)
	if err != nil {
		return nil, 0, err
	}
	be := binary.BigEndian
	s := &snapshot{l1Offset: hostOff(be.Uint64(head)), l1Size: int64(be.Uint32(head[8:]))}
	s.DateSec, s.DateNsec, s.VMClock = be.Uint32(head[16:]), be.Uint32(head[20:]), be.Uint64(head[24:])
	s.VMStateSize = uint64(be.Uint32(head[32:]))
	idLen, nameLen := int64(be.Uint16(head[12:])), int64(be.Uint16(head[14:]))
	extra := int64(be.Uint32(head[36:]))
	off += snapshotHeadLen
	s.extraLen = int(extra)
	if extra > maxSnapshotExtra {
		if !r.repair {
			err := qerr.New(syscall.EFBIG, "Too much extra metadata in snapshot table entry %d", k)
			return nil, 0, qerr.WithHint(err, "You can force-remove this extra metadata with qemu-img check -r all\n")
		}
		r.env.Report("Discarding too much extra metadata in snapshot table entry %d (%d > %d)", k, extra, maxSnapshotExtra)
		r.truncated++
		s.extraLen = maxSnapshotExtra
	}
	data, err := r.next(ctx, off, int64(s.extraLen))
	if err != nil {
		return nil, 0, err
	}
	s.takeExtra(data, r.Size())
	off += extra
	text, err := r.next(ctx, off, idLen+nameLen)
	if err != nil {
		return nil, 0, err
	}
	s.ID, s.Name = cString(text[:idLen]), cString(text[idLen:])
	return s, off + idLen + nameLen, nil
}

// takeExtra reads an entry's extra data; diskSize stands in for the size that old entries do not have.
func (s *snapshot) takeExtra(data []byte, diskSize int64) {
	be := binary.BigEndian
	s.DiskSize, s.ICount = diskSize, 1<<64-1
	if len(data) >= 8 {
		s.VMStateSize = be.Uint64(data)
	}
	if len(data) >= 16 {
		s.DiskSize = int64(be.Uint64(data[8:]))
	}
	if len(data) >= snapshotExtraLen {
		s.ICount = be.Uint64(data[16:])
		s.unknown = bytes.Clone(data[snapshotExtraLen:])
	}
}

// encode is the snapshot table as it is written.
func (t *snapshotTable) encode() []byte {
	var b []byte
	be := binary.BigEndian
	for _, s := range t.list {
		b = append(b, make([]byte, -len(b)&7)...)
		b = be.AppendUint64(b, uint64(s.l1Offset))
		b = be.AppendUint32(b, uint32(s.l1Size))
		b = be.AppendUint16(b, uint16(len(s.ID)))
		b = be.AppendUint16(b, uint16(len(s.Name)))
		b = be.AppendUint32(b, s.DateSec)
		b = be.AppendUint32(b, s.DateNsec)
		b = be.AppendUint64(b, s.VMClock)
		// Who knows 32 bits only sees a snapshot without VM state rather than a part of it.
		small := uint32(s.VMStateSize)
		if s.VMStateSize > 1<<32-1 {
			small = 0
		}
		b = be.AppendUint32(b, small)
		b = be.AppendUint32(b, uint32(snapshotExtraLen+len(s.unknown)))
		b = be.AppendUint64(b, s.VMStateSize)
		b = be.AppendUint64(b, uint64(s.DiskSize))
		b = be.AppendUint64(b, s.ICount)
		b = append(b, s.unknown...)
		b = append(b, s.ID...)
		b = append(b, s.Name...)
	}
	return b
}

// find gives the index of the first snapshot with that ID and name, of which an empty one matches any; -1 if there is
// none.
func (t *snapshotTable) find(id, name string) int {
	if id == "" && name == "" {
		return -1
	}
	for k, s := range t.list {
		if (id == "" || s.ID == id) && (name == "" || s.Name == name) {
			return k
		}
	}
	return -1
}

// newID is one more than the largest number that begins an ID.
func (t *snapshotTable) newID() string {
	most := uint64(0)
	for _, s := range t.list {
		digits := strings.TrimLeft(s.ID, " \t\n\v\f\r")
		end := 0
		for end < len(digits) && digits[end] >= '0' && digits[end] <= '9' {
			end++
		}
		if v, err := strconv.ParseUint(digits[:end], 10, 64); err == nil {
			most = max(most, v)
		}
	}
	return strconv.FormatUint(most+1, 10)
}

// noteSnapshots remembers where snapshots have their metadata. mu is held.
func (i *image) noteSnapshots() {
	if n := i.snapshots.size; n > 0 {
		i.noteMeta(hostOff(i.hdr.snapshotsOffset), n, snapshotTab)
	}
	for _, s := range i.snapshots.list {
		if s.l1Size == 0 || s.l1Size > maxL1Size/8 || s.l1Offset < 0 {
			continue
		}
		i.noteMeta(s.l1Offset, s.l1Size*8, inactiveL1)
		if i.opts.overlap>>inactiveL2&1 == 0 {
			continue
		}
		l1, err := i.snapshotL1(context.Background(), s)
		if err != nil {
			continue // who needs the table gets the error
		}
		for _, e := range l1 {
			if off := e & entryOffset; off != 0 {
				i.noteMeta(hostOff(off), i.clusterSize, inactiveL2)
			}
		}
	}
}

// snapshotL1 reads the L1 table of a snapshot.
func (i *image) snapshotL1(ctx context.Context, s *snapshot) ([]uint64, error) {
	if err := i.hdr.checkTable(uint64(s.l1Offset), uint64(s.l1Size), 8, maxL1Size, "Snapshot L1 table"); err != nil {
		return nil, err
	}
	return readTable(ctx, i.file, int64(s.l1Offset), s.l1Size)
}

// Snapshots lists the snapshots in the order of the table. ENOTSUP with an external data file.
func (i *image) Snapshots(context.Context) ([]formats.Snapshot, error) {
	if i.external() {
		return nil, syscall.ENOTSUP
	}
	var list []formats.Snapshot
	for _, s := range i.snapshots.list {
		list = append(list, s.Snapshot)
	}
	return list, nil
}
