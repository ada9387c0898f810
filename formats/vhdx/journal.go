package vhdx

import (
	"context"
	"encoding/binary"
	"syscall"
)

// journal is where new log entries go.
type journal struct {
	off, length int64
	id          guid
	at          int64 // where the next entry begins
	sequence    uint64
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

// begin changes the headers before the first write: new GUIDs, and one for the log.
func (d *image) begin(ctx context.Context) error {
	if d.begun.Load() {
		return nil
	}
	d.beginning.Lock()
	defer d.beginning.Unlock()
	if d.begun.Load() {
		return nil
	}
	d.log.id = newGUID()
	file, data := newGUID(), newGUID()
	err := d.heads.update(context.WithoutCancel(ctx), func(h *header) {
		copy(h[16:], file[:])
		copy(h[32:], data[:])
		if d.log.length > 0 {
			copy(h[48:], d.log.id[:])
		}
	})
	if err == nil {
		d.begun.Store(true)
	}
	return err
}

// finish says in the headers that nothing is to be replayed.
func (d *image) finish(ctx context.Context) error {
	if !d.begun.Load() || d.log.length == 0 {
		return nil
	}
	return d.heads.update(ctx, func(h *header) { clear(h[48:64]) })
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
	for len(parts) > 0 && err == nil {
		round := parts[:min(len(parts), d.log.room())]
		if err = d.logged(ctx, round); err != nil {
			break
		}
		if parts = parts[len(round):]; len(parts) > 0 {
			// The next entry's tail says that this one is in place.
			err = d.file.Flush(ctx)
		}
		d.mu.Lock()
		d.meta.written(round)
		d.mu.Unlock()
	}
	if err != nil {
		d.mu.Lock()
		d.meta.putBack(parts)
		d.mu.Unlock()
	}
	return err
}

// logged makes an entry of the parts durable and writes them to their places. There they need not be durable: the next
// flush does that before another entry is written.
func (d *image) logged(ctx context.Context, parts []part) error {
	if d.log.length == 0 {
		return syscall.EINVAL
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
	return nil
}
