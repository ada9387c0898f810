package file

import (
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"platter/formats"
)

// queueSlots is how many requests a file's queue in the kernel takes; more wait for their turn.
const queueSlots = 256

// maxRequest bounds one request of a queue, so that results fit in 31 bits. What remains is asked for again.
const maxRequest = 1 << 30

// operation is what a request of a queue does.
type operation uint8

const (
	opRead operation = iota
	opWrite
	opSync // fdatasync
)

// slot is the place of one request.
type slot struct {
	op   operation
	buf  []byte // held from here until the kernel is done with it
	off  int64
	done chan int64 // what the system call would have returned; errors are negative
}

// ring is a queue of the kernel.
type ring interface {
	// submit hands over the requests in batch, in their order, and says how many the kernel took; an error is that of
	// the first one that it did not take. Calls do not overlap.
	submit(q *queue, batch []uint32) (int, error)
	// reap waits until a request is done, and calls q.finish for all that are. It says how many.
	reap(q *queue) (int, error)
	// destroy gives the queue up. No request is under way.
	destroy()
}

// queue sends the requests of one file through a queue of the kernel. Whoever has a request takes a slot, hands it over
// and sleeps until the reaper, a goroutine, has its result; requests that come while others are handed over go together.
type queue struct {
	ring  ring
	fd    int
	slots []slot
	free  chan uint32 // slots in which no request is

	// What a slot asks for is read before the kernel has it, and the slot is used again after the kernel was done with
	// it. Go does not see this order; a counter that is raised before and read after makes it visible.
	asked atomic.Uint64

	mu         sync.Mutex
	pending    []uint32 // slots that are to be handed over
	submitting bool     // somebody is about to hand over what is pending
	inflight   int      // handed over and not reaped; below 0 while a result is there before it is counted
	closed     bool
	wake       *sync.Cond    // inflight grew, or closed
	ended      chan struct{} // the reaper has returned
}

func newQueue(r ring, fd int) *queue {
	q := &queue{ring: r, fd: fd, slots: make([]slot, queueSlots), free: make(chan uint32, queueSlots), ended: make(chan struct{})}
	q.wake = sync.NewCond(&q.mu)
	for i := range q.slots {
		q.slots[i].done = make(chan int64, 1)
		q.free <- uint32(i)
	}
	go q.reaper()
	return q
}

// do carries one request out and gives the number of bytes moved. It returns when the kernel is done with p, never
// before: a request that was handed over cannot be called back.
func (q *queue) do(op operation, p []byte, off int64) (int, error) {
	i := <-q.free
	s := &q.slots[i]
	s.op, s.buf, s.off = op, p[:min(len(p), maxRequest)], off
	q.send(i)
	res := <-s.done
	runtime.KeepAlive(p)
	s.buf = nil
	q.free <- i
	if res < 0 {
		return 0, syscall.Errno(-res)
	}
	return int(res), nil
}

// send hands slot i over, unless somebody who is handing over will.
func (q *queue) send(i uint32) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pending = append(q.pending, i)
	if q.submitting {
		return
	}
	q.submitting = true
	var spare []uint32
	for len(q.pending) > 0 {
		batch := q.pending
		q.pending = spare
		q.mu.Unlock()
		q.submit(batch)
		q.mu.Lock()
		spare = batch[:0]
	}
	q.submitting = false
}

// submit hands over a batch. A request that the kernel does not take fails.
func (q *queue) submit(batch []uint32) {
	for len(batch) > 0 {
		n, err := q.ring.submit(q, batch)
		if n > 0 {
			q.mu.Lock()
			q.inflight += n
			q.wake.Signal()
			q.mu.Unlock()
			batch = batch[n:]
			continue
		}
		switch err {
		case syscall.EINTR:
		case nil, syscall.EAGAIN, syscall.EBUSY: // short of something that other requests hold
			time.Sleep(100 * time.Microsecond)
		default:
			q.finish(batch[0], -int64(err.(syscall.Errno)))
			batch = batch[1:]
		}
	}
}

// finish wakes whoever waits for slot i.
func (q *queue) finish(i uint32, res int64) {
	q.asked.Load()
	q.slots[i].done <- res
}

// reaper hands out results until the queue is closed. It waits in the kernel only while a request is there.
func (q *queue) reaper() {
	defer close(q.ended)
	for q.await() {
		n, err := q.ring.reap(q)
		if err != nil && err != syscall.EINTR {
			time.Sleep(time.Millisecond) // the kernel is short of something; the requests are still its own
		}
		q.mu.Lock()
		q.inflight -= n
		q.mu.Unlock()
	}
}

// await waits until there is a request to reap; false: there will be none.
func (q *queue) await() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.inflight <= 0 && !q.closed {
		q.wake.Wait()
	}
	return q.inflight > 0
}

// close waits for all requests and gives the queue up.
func (q *queue) close() {
	for range q.slots {
		<-q.free
	}
	q.mu.Lock()
	q.closed = true
	q.wake.Signal()
	q.mu.Unlock()
	<-q.ended
	q.ring.destroy()
}

// aio is the way of a file's requests other than by pread and pwrite.
type aio struct {
	mode  string // "": there is none
	env   *formats.Env
	start sync.Once
	queue *queue // nil after start: the kernel gives none
}

// ready makes the queue for the first request. Where the kernel refuses, that is said once, and requests go the ordinary
// way.
func (a *aio) ready(fd int) *queue {
	if a.mode == "" {
		return nil
	}
	a.start.Do(func() {
		var r ring
		var err error
		if a.mode == "native" {
			r, err = setupAIO()
		} else {
			r, err = setupURing()
		}
		if err != nil {
			a.env.ReportError("%v", err)
			return
		}
		a.queue = newQueue(r, fd)
	})
	return a.queue
}

// close ends what ready began.
func (a *aio) close() {
	a.start.Do(func() {})
	if a.queue != nil {
		a.queue.close()
	}
}
