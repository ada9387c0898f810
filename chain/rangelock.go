package chain

import "sync"

// rangeLock serialises requests that overlap: those that were widened to the alignment read bytes around the caller's
// and write them back, and nobody may change these in between.
type rangeLock struct {
	mu   sync.Mutex
	free sync.Cond
	held []span
}

type span struct{ off, end int64 }

// lock waits until [off, off+n) overlaps no held range, and holds it.
func (r *rangeLock) lock(off, n int64) span {
	s := span{off, off + n}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.free.L == nil {
		r.free.L = &r.mu
	}
	for r.overlaps(s) {
		r.free.Wait()
	}
	r.held = append(r.held, s)
	return s
}

func (r *rangeLock) overlaps(s span) bool {
	for _, h := range r.held {
		if s.off < h.end && h.off < s.end {
			return true
		}
	}
	return false
}

func (r *rangeLock) unlock(s span) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, h := range r.held {
		if h == s {
			last := len(r.held) - 1
			r.held[i] = r.held[last]
			r.held = r.held[:last]
			break
		}
	}
	r.free.Broadcast()
}
