package vhdx

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

const (
	logSector  = 4096
	entryHead  = 64
	descriptor = 32
	// logWork bounds, beside twice the log's length, the bytes that are summed while entries are looked for: entries that
	// are not valid may overlap.
	logWork = 256 * mib
	// maxFile bounds the length that a log entry may give the file: the largest disk takes little more than half of it.
	maxFile = 128 * tib
)

// logEntry is a valid log entry (section 2.3.1) without its data.
type logEntry struct {
	at       int64 // byte offset in the log
	length   int64
	tail     int64
	sequence uint64
	flushed  uint64 // the file was at least this long
	last     uint64 // and is to be at least this long
}

// logReader looks for what is to be replayed.
type logReader struct {
	file   formats.File
	off    int64 // of the log in the file
	length int64
	id     guid
	work   int64 // bytes that may still be summed
}

// logArea checks what the header says of the log; length 0 means that nothing is to be replayed.
func logArea(h *header) (off, length int64, err error) {
	if h.logOffset() < mib || h.logOffset()%mib != 0 || h.logOffset() > 1<<62 || h.logVersion() != 0 {
		return 0, 0, syscall.EINVAL
	}
	if h.logGUID() == (guid{}) || h.logLength() == 0 {
		return 0, 0, nil
	}
	if h.logLength()%mib != 0 {
		return 0, 0, syscall.EINVAL
	}
	return int64(h.logOffset()), h.logLength(), nil
}

// read reads from the ring.
func (l *logReader) read(ctx context.Context, p []byte, at int64) error {
	at %= l.length
	n := min(int64(len(p)), l.length-at)
	if err := l.file.ReadAt(ctx, p[:n], l.off+at); err != nil || n == int64(len(p)) {
		return err
	}
	return l.file.ReadAt(ctx, p[n:], l.off)
}

// active finds the entries to be replayed (section 2.3.2), nil if there are none: of the runs of valid entries with
// consecutive numbers whose last entry names an entry of the run as its tail, the one with the highest number.
func (l *logReader) active(ctx context.Context) ([]logEntry, error) {
	var best []logEntry
	// What lies behind the end of the file is no entry.
	end := min(l.length, (l.file.Size()-l.off+logSector-1)/logSector*logSector)
	for at := int64(0); at < end; {
		var run []logEntry
		for next := at; ; {
			e, ok, err := l.entry(ctx, next)
			if err != nil {
				return nil, err
			}
			if !ok || len(run) > 0 && e.sequence != run[len(run)-1].sequence+1 {
				break
			}
			run = append(run, e)
			next = (next + e.length) % l.length
		}
		if len(run) == 0 {
			at += logSector
			continue
		}
		head := run[len(run)-1]
		if from := within(run, head.tail); from >= 0 && (best == nil || head.sequence > best[len(best)-1].sequence) {
			best = run[from:]
		}
		if at = head.at + head.length; head.at < run[0].at {
			break // around the ring
		}
	}
	return best, nil
}

// within finds the entry that begins at the offset.
func within(run []logEntry, at int64) int {
	for i, e := range run {
		if e.at == at {
			return i
		}
	}
	return -1
}

// entry reads the entry at an offset of the ring, if there is a valid one.
func (l *logReader) entry(ctx context.Context, at int64) (e logEntry, ok bool, err error) {
	var head [entryHead]byte
	if err := l.read(ctx, head[:], at); err != nil {
		return e, false, err
	}
	le := binary.LittleEndian
	e = logEntry{at: at, length: int64(le.Uint32(head[8:])), tail: int64(le.Uint32(head[12:])),
		sequence: le.Uint64(head[16:]), flushed: le.Uint64(head[48:]), last: le.Uint64(head[56:])}
	count := int64(le.Uint32(head[24:]))
	if string(head[:4]) != "loge" || guid(head[32:48]) != l.id || e.sequence == 0 ||
		e.length == 0 || e.length > l.length || e.length%logSector != 0 || entryHead+count*descriptor > e.length {
		return e, false, nil
	}
	if l.work -= e.length; l.work < 0 {
		return e, false, qerr.New(syscall.EINVAL, "VHDX log is damaged: too many invalid entries")
	}
	return e, l.sound(ctx, e, le.Uint32(head[4:])), nil
}

// sound sums the entry.
func (l *logReader) sound(ctx context.Context, e logEntry, want uint32) bool {
	buf := make([]byte, min(e.length, mib))
	var c uint32
	for done := int64(0); done < e.length; {
		p := buf[:min(e.length-done, mib)]
		if l.read(ctx, p, e.at+done) != nil {
			return false
		}
		if done == 0 {
			clear(p[4:8])
		}
		c = crc32.Update(c, castagnoli, p)
		done += int64(len(p))
	}
	return c == want
}

// replay writes what the entries say. It can be done again after a crash.
func (l *logReader) replay(ctx context.Context, run []logEntry) error {
	size := uint64(l.file.Size())
	for _, e := range run {
		if e.flushed > size || e.last > maxFile {
			return syscall.EINVAL // the file was cut off, or nothing that can be
		}
		if err := l.replayEntry(ctx, e, max(size, e.last)); err != nil {
			return err
		}
	}
	last := int64(run[len(run)-1].last+mib-1) / mib * mib
	if l.file.Size() < last {
		if err := l.file.Truncate(ctx, last, formats.PreallocOff); err != nil {
			return err
		}
	}
	return l.file.Flush(ctx)
}

// replayEntry writes one entry's sectors; nothing may lie behind limit, the length that the file is to have.
func (l *logReader) replayEntry(ctx context.Context, e logEntry, limit uint64) error {
	raw := make([]byte, descriptor)
	var head [entryHead]byte
	if err := l.read(ctx, head[:], e.at); err != nil {
		return err
	}
	le := binary.LittleEndian
	count := int64(le.Uint32(head[24:]))
	data := (entryHead + count*descriptor + logSector - 1) / logSector * logSector
	for i := range count {
		if err := l.read(ctx, raw, e.at+entryHead+i*descriptor); err != nil {
			return err
		}
		off, n := le.Uint64(raw[16:]), uint64(logSector)
		zero := bytes.Equal(raw[:4], []byte("zero"))
		if zero {
			n = le.Uint64(raw[8:])
		} else if string(raw[:4]) != "desc" || data+logSector > e.length {
			return syscall.EINVAL
		}
		if le.Uint64(raw[24:]) != e.sequence || off%logSector != 0 || n%logSector != 0 || off > limit || n > limit-off {
			return syscall.EINVAL
		}
		if zero {
			if n > 0 {
				if err := l.file.WriteZeroes(ctx, int64(off), int64(n), 0); err != nil {
					return err
				}
			}
			continue
		}
		if err := l.replaySector(ctx, raw, e.at+data, int64(off)); err != nil {
			return err
		}
		data += logSector
	}
	return nil
}

// replaySector puts a data sector together: its first 8 and last 4 bytes are in the descriptor.
func (l *logReader) replaySector(ctx context.Context, desc []byte, at, off int64) error {
	p := make([]byte, logSector)
	if err := l.read(ctx, p, at); err != nil {
		return err
	}
	le := binary.LittleEndian
	number := uint64(le.Uint32(p[4:]))<<32 | uint64(le.Uint32(p[4092:]))
	if string(p[:4]) != "data" || number != le.Uint64(desc[24:]) {
		return syscall.EINVAL
	}
	copy(p[:8], desc[8:16])
	copy(p[4092:], desc[4:8])
	return l.file.WriteAt(ctx, p, off, 0)
}
