package formatstest

import (
	"bytes"
	"math/rand/v2"
)

type eventKind uint8

const (
	evCreate eventKind = iota
	evWrite
	evTruncate
	evFlush
)

// event is one entry of a store's log.
type event struct {
	kind eventKind
	base string
	off  int64 // evTruncate: the new length
	data []byte
	fua  bool // evWrite: with FUA
}

// apply gives the file's content after the event. What it is given may be changed.
func (e event) apply(data []byte) []byte {
	switch e.kind {
	case evCreate:
		return bytes.Clone(e.data)
	case evWrite:
		if n := e.off + int64(len(e.data)) - int64(len(data)); n > 0 {
			data = append(data, make([]byte, n)...)
		}
		copy(data[e.off:], e.data)
	case evTruncate:
		if n := e.off - int64(len(data)); n > 0 {
			return append(data, make([]byte, n)...)
		}
		return data[:e.off:e.off]
	}
	return data
}

// Tear is the unit, in bytes, that a disk writes as a whole.
const Tear = 512

// Crash rebuilds the files as a crash after the first events of the log may leave them. Events that a flush of the
// same file covers are there, and writes with FUA but for the last event, which may be under way; of the later ones a
// random part is, in the order of the log, writes torn at Tear.
func (s *Store) Crash(events int, rng *rand.Rand) *Store {
	s.mu.Lock()
	log := s.log[:events]
	s.mu.Unlock()
	flushed := map[string]int{}
	for i, e := range log {
		if e.kind == evFlush || e.kind == evCreate {
			flushed[e.base] = i
		}
	}
	content := map[string][]byte{}
	keep := rng.Float64() // how lucky this crash is
	for i, e := range log {
		sure := i <= flushed[e.base] || e.fua && i < len(log)-1
		if !sure && e.kind == evWrite {
			e = survivor(e, keep, rng)
		} else if !sure && rng.Float64() > keep {
			continue
		}
		content[e.base] = e.apply(content[e.base])
		if e.kind == evWrite && len(e.data) == 0 {
			continue
		}
	}
	after := NewStore()
	for base, data := range content {
		after.Put(base, data)
	}
	return after
}

// survivor is what is left of an unflushed write: all of it, nothing, or a run of its sectors.
func survivor(e event, keep float64, rng *rand.Rand) event {
	if rng.Float64() < keep {
		return e
	}
	first := (e.off + Tear - 1) / Tear * Tear
	end := (e.off + int64(len(e.data))) / Tear * Tear
	if rng.IntN(2) == 0 || end-first <= Tear {
		e.data, e.off = nil, 0
		return e
	}
	cut := first + Tear*(1+rng.Int64N((end-first)/Tear-1))
	if rng.IntN(2) == 0 {
		e.data = e.data[:cut-e.off]
	} else {
		e.data, e.off = e.data[cut-e.off:], cut
	}
	return e
}
