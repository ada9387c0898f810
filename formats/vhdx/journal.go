package vhdx

import (
	"context"
	"encoding/binary"
	"syscall"

	"platter/formats"
)

// How much of the log is used, in bytes: at first, and at most.
const (
	leastLog = 96 << 10
	mostLog  = 4 << 20
)

// journal is where new log entries go: the beginning of the log, which has its space in the file, because a full disk is to
// fail the request that needs a sector changed, not the flush (see sectors.hold). More of the log only saves rounds.
type journal struct {
	off      int64
	length   int64 // of the part that is used
	whole    int64 // of what may be used
	id       guid
	at       int64 // where the next entry begins
	sequence uint64
}

// room is the number of sectors that one entry may change: the entry takes at most a third of the log.
func (j *journal) room() int {
	return min(int(j.length/logSector/3)*126/128, 4096)
}

// entry makes a log entry of the sectors and says where it goes. size is the length of the file, all of it durable.
func (j *journal) entry(parts []part, size int64) (raw []byte, off int64) {
	heads := (entryHead + len(parts)*descriptor + logSector - 1) / logSector * logSector
	raw = make([]byte, heads+len(parts)*logSector)
	if j.at+int64(len(raw)) > j.length {
		j.at = 0
	}
	j.sequence++
	le := binary.LittleEndian
	copy(raw, "loge")
	le.PutUint32(raw[8:], uint32(len(raw)))
	le.PutUint32(raw[12:], uint32(j.at))
	le.PutUint64(raw[16:], j.sequence)
	le.PutUint32(raw[24:], uint32(len(parts)))
	copy(raw[32:48], j.id[:])
	le.PutUint64(raw[48:], uint64(size))
	le.PutUint64(raw[56:], uint64(size))
	for i, p := range parts {
		d, s := raw[entryHead+i*descriptor:], raw[heads+i*logSector:][:logSector]
		copy(d, "desc")
		copy(d[4:8], p.data[4092:])
		copy(d[8:16], p.data[:8])
		le.PutUint64(d[16:], uint64(p.off))
		le.PutUint64(d[24:], j.sequence)
		copy(s, p.data[:])
		copy(s, "data")
		le.PutUint32(s[4:], uint32(j.sequence>>32))
		le.PutUint32(s[4092:], uint32(j.sequence))
	}
	seal(raw)
	return raw, j.off + j.at
}

// newJournal is for a log at off that is length bytes long.
func newJournal(off, length int64) journal {
	whole := min(length, mostLog)
	return journal{off: off, length: min(whole, leastLog), whole: whole}
}

// widen uses more of the log, so that an entry can have n parts, if there is room for it on the disk.
func (j *journal) widen(ctx context.Context, file formats.File, n int) {
	for j.room() < n && j.length < j.whole {
		more := min(j.length, j.whole-j.length)
		if file.WriteZeroes(ctx, j.off+j.length, more, 0) != nil {
			return
		}
		j.length += more
	}
}

// begin gives both headers new GUIDs before the first write. They name no log then, and the log gets its space.
func (d *image) begin(ctx context.Context) error {
	if d.begun.Load() {
		return nil
	}
	d.commit.Lock()
	defer d.commit.Unlock()
	if d.begun.Load() {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	if err := d.file.Flush(ctx); err != nil {
		return err
	}
	file, data := newGUID(), newGUID()
	err := d.heads.update(ctx, func(h *header) {
		copy(h[16:], file[:])
		copy(h[32:], data[:])
		clear(h[48:64])
	})
	if err == nil && d.log.length > 0 {
		err = d.file.WriteZeroes(ctx, d.log.off, d.log.length, 0)
	}
	if err == nil {
		d.begun.Store(true)
	}
	return err
}

// Flush makes data durable, then the BAT and the sector bitmaps, through the log.
func (d *image) Flush(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	d.commit.Lock()
	defer d.commit.Unlock()
	d.mu.Lock()
	parts := d.meta.take()
	d.mu.Unlock()
	// What the sectors name was written before they were taken.
	err := d.file.Flush(ctx)
	d.log.widen(ctx, d.file, len(parts))
	for len(parts) > 0 && err == nil {
		round := parts[:min(len(parts), max(d.log.room(), 1))]
		if err = d.logged(ctx, round); err != nil {
			break
		}
		parts = parts[len(round):]
		d.mu.Lock()
		d.meta.written(round)
		d.mu.Unlock()
		if len(parts) > 0 {
			err = d.file.Flush(ctx) // between two changes of the headers
		}
	}
	if err != nil {
		d.mu.Lock()
		d.meta.putBack(parts)
		d.mu.Unlock()
	}
	return err
}

// logged writes the parts to their places by way of the log: a header that names it and the entry, a flush, the parts, a
// flush, a header that names no log. A header that does not reach the disk in the end leads to the parts being written
// once more. A flush comes before.
func (d *image) logged(ctx context.Context, parts []part) error {
	if d.log.length == 0 {
		return syscall.EINVAL
	}
	d.log.id = newGUID()
	if err := d.heads.put(ctx, func(h *header) { copy(h[48:], d.log.id[:]) }); err != nil {
		return err
	}
	raw, off := d.log.entry(parts, d.file.Size())
	if err := d.file.WriteAt(ctx, raw, off, 0); err != nil {
		return err
	}
	if err := d.file.Flush(ctx); err != nil {
		return err
	}
	d.log.at += int64(len(raw))
	for _, p := range parts {
		if err := d.file.WriteAt(ctx, p.data[:], p.off, 0); err != nil {
			return err
		}
	}
	if err := d.file.Flush(ctx); err != nil {
		return err
	}
	return d.heads.put(ctx, func(h *header) { clear(h[48:64]) })
}

// finish makes the header durable that says that nothing is to be replayed.
func (d *image) finish(ctx context.Context) error {
	if err := d.file.Flush(ctx); err != nil || d.heads.now().logGUID() == (guid{}) {
		return err
	}
	return d.heads.update(ctx, func(h *header) { clear(h[48:64]) })
}
