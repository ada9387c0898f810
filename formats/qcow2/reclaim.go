package qcow2

import (
	"context"
	"errors"
	"sync/atomic"
	"syscall"
)

// epochs count the requests that may use host clusters that they found in the tables. A cluster that was taken out of
// the tables during epoch e is out of use once every request that began in e or before has ended.
type epochs struct {
	now    atomic.Uint64
	active [2]struct {
		n atomic.Int64
		_ [56]byte // a cache line of its own
	}
}

// enter counts a request; what it returns is for leave.
func (e *epochs) enter() uint64 {
	for {
		now := e.now.Load()
		e.active[now&1].n.Add(1)
		if e.now.Load() == now {
			return now
		}
		e.active[now&1].n.Add(-1)
	}
}

func (e *epochs) leave(at uint64) { e.active[at&1].n.Add(-1) }

// advance starts the next epoch if nothing of the one before the present one is left. One caller at a time.
func (e *epochs) advance() {
	now := e.now.Load()
	if e.active[(now+1)&1].n.Load() == 0 {
		e.now.Store(now + 1)
	}
}

// over reports whether all requests of epoch at and before have ended.
func (e *epochs) over(at uint64) bool {
	now := e.now.Load()
	return now >= at+2 || now == at+1 && e.active[at&1].n.Load() == 0
}

// release is a range of the file that the tables in memory no longer refer to.
type release struct {
	off     hostOff
	n       int64
	why     cause
	epoch   uint64
	durable bool // nor do those in the file
	passed  bool // the search for free clusters has been there already, see moveRefTable
}

// release gives one reference to each cluster that [off, off+n) touches back, once nothing uses it any more. mu is held.
func (i *image) release(off hostOff, n int64, why cause) {
	if i.creating {
		i.used(off, n)
		_ = i.addRefcounts(context.Background(), off, n, -1, why)
		return
	}
	now := i.requests.now.Load()
	if k := len(i.givenUp) - 1; k >= 0 {
		if l := &i.givenUp[k]; !l.durable && !l.passed && l.epoch == now && l.why == why && l.off+hostOff(l.n) == off &&
			i.inCluster(int64(off)) == 0 {
			l.n += n
			return
		}
	}
	i.givenUp = append(i.givenUp, release{off: off, n: n, why: why, epoch: now})
}

// reclaim lowers the refcounts of what was given up and is out of use, in memory and in the file. mu is held.
func (i *image) reclaim(ctx context.Context) error {
	if len(i.givenUp) == 0 {
		return nil
	}
	i.requests.advance()
	i.requests.advance()
	keep := i.givenUp[:0]
	var first error
	for _, r := range i.givenUp {
		if !r.durable || !i.requests.over(r.epoch) {
			keep = append(keep, r)
			continue
		}
		i.used(r.off, r.n)
		next := i.nextFree
		if err := i.addRefcounts(ctx, r.off, r.n, -1, r.why); err != nil && first == nil {
			first = err
		}
		if r.passed {
			i.nextFree = next
		}
	}
	clear(i.givenUp[len(keep):])
	i.givenUp = keep
	return first
}

// discardRange is a free range of the file that is to become a hole.
type discardRange struct {
	off hostOff
	n   int64
}

// queueDiscard remembers a free range, together with the one before it if they touch. mu is held.
func (i *image) queueDiscard(off hostOff, n int64) {
	if k := len(i.discards) - 1; k >= 0 && i.discards[k].off+hostOff(i.discards[k].n) == off {
		i.discards[k].n += n
		return
	}
	i.discards = append(i.discards, discardRange{off, n})
}

// discardFree punches the queued ranges. It holds mu, because a range must not be allocated meanwhile: its refcounts are
// 0 already, and nothing but mu keeps the search for free clusters from it. That the file below cannot
// give space up is no error, that it fails is one: it says something about the file.
func (i *image) discardFree(ctx context.Context) error {
	var first error
	for _, d := range i.discards {
		n := min(d.n, i.file.Size()-int64(d.off))
		if n <= 0 {
			continue
		}
		if err := i.file.Discard(ctx, int64(d.off), n); err != nil && !errors.Is(err, syscall.ENOTSUP) && first == nil {
			first = err
		}
	}
	i.discards = i.discards[:0]
	return first
}
