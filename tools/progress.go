package tools

import "sync"

// minSkip is how many percent a meter must move before it is shown again, unless it says otherwise.
const minSkip = 1

// Meter tells how far a job is, in percent, at the steps at which qemu-img prints its progress. A nil Meter is silent.
// Its methods may be called concurrently.
type Meter struct {
	// Show is called with the percentage whenever it moved by more than one, and at 0 and 100.
	Show func(percent float32)
	// Tick, if not nil, is called at every advance, for progress on request (SIGUSR1).
	Tick func(percent float32)
	// Whole, if not nil, is told how many bytes the whole job is, once that is known.
	Whole func(bytes int64)
	// Skip is how many percent the meter must move before Show is called again; 0 means 1. compare has 2.
	Skip float32

	mu            sync.Mutex
	current, last float32
	started       bool
}

// Started says whether the meter has ever been moved.
func (m *Meter) Started() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.started
}

// whole says how many bytes the job is.
func (m *Meter) whole(bytes int64) {
	if m != nil && m.Whole != nil {
		m.Whole(bytes)
	}
}

// stay shows a meter that a failed job has left at 0 as often as stock's does: it looks at the job twice before it ends.
func (m *Meter) stay() {
	if m == nil || m.current != 0 {
		return
	}
	m.Advance(0, 0)
	m.Advance(0, 0)
}

// Advance moves the meter. With share 0, delta is the new percentage; otherwise the meter advances by delta percent of
// share percent of the whole.
func (m *Meter) Advance(delta float32, share int) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	at := delta
	if share != 0 {
		at = m.current + delta/100*float32(share)
	}
	at = min(at, 100)
	m.current, m.started = at, true
	if m.Tick != nil {
		m.Tick(at)
	}
	skip := m.Skip
	if skip == 0 {
		skip = minSkip
	}
	if at > m.last+skip || at < m.last-skip || at == 0 || at == 100 {
		m.last = at
		if m.Show != nil {
			m.Show(at)
		}
	}
}
