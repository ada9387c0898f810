package copier

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"unsafe"

	"platter/formats"
)

// Kind says what a piece is to become in the target.
type Kind uint8

// The kinds of pieces.
const (
	Data  Kind = iota // is read from the source and written
	Zero              // reads as zeroes
	Leave             // stays what it is in the target
)

// Piece is a range of the image, in bytes.
type Piece struct {
	Off, Len int64
	Kind     Kind
	Note     any // the job's own
}

// Job is a copy to be made. All functions are given the job's context.
type Job struct {
	// Workers bounds how many pieces are under way at once; 0 chooses by the number of processors.
	Workers int
	// Buffer is the size of each worker's buffer, in bytes.
	Buffer int64
	// Ordered makes Store follow the order of Next.
	Ordered bool
	// Next gives the next piece, io.EOF after the last. It is never called concurrently.
	Next func(context.Context) (Piece, error)
	// Load prepares a piece. If it is Data, buf has its length, or that of the buffer if the piece is longer. It may be
	// nil. scratch is the worker's own.
	Load func(ctx context.Context, p Piece, buf []byte, scratch *Scratch) error
	// Store brings the piece to its place. In ordered jobs it may pass on the turn before it is done.
	Store func(ctx context.Context, p Piece, buf []byte, scratch *Scratch, turn *formats.Turn) error
	// Early makes Store of an ordered job begin before its turn; it awaits the turn itself, or lets the driver.
	Early bool
}

// Scratch is memory that a worker keeps from piece to piece: Extra is the job's own.
type Scratch struct{ Extra any }

// DefaultWorkers is how many workers a job has that names no number.
func DefaultWorkers() int { return min(max(runtime.GOMAXPROCS(0), 2), 4) }

// Run does the job. When it returns, no function of the job runs any more.
func Run(ctx context.Context, j Job) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &run{Job: j, cancel: cancel}
	r.turned.L = &r.mu
	n := j.Workers
	if n <= 0 {
		n = DefaultWorkers()
	}
	var wait sync.WaitGroup
	for range n - 1 {
		wait.Go(func() { r.work(ctx) })
	}
	r.work(ctx)
	wait.Wait()
	return r.err
}

// run is the state that the workers share.
type run struct {
	Job
	cancel context.CancelFunc

	next  sync.Mutex // held while Next runs
	count int64      // pieces given out
	ended bool       // Next has given its last

	mu     sync.Mutex
	turned sync.Cond
	turn   int64 // the piece whose Store may begin
	failed bool
	err    error
}

// work is one worker: it takes pieces until there are no more.
func (r *run) work(ctx context.Context) {
	var buf []byte
	var scratch Scratch
	for {
		p, seq, ok := r.take(ctx)
		if !ok {
			return
		}
		var data []byte
		if p.Kind == Data {
			n := min(p.Len, r.Job.Buffer)
			if int64(len(buf)) < n {
				buf = Buffer(int(min(r.Job.Buffer, roundUp(n, 64<<10))))
			}
			data = buf[:n]
		}
		var err error
		if r.Load != nil {
			err = r.Load(ctx, p, data, &scratch)
		}
		r.store(ctx, p, seq, data, &scratch, err)
	}
}

// take asks for the next piece. An error of Next waits for its turn like that of a piece.
func (r *run) take(ctx context.Context) (p Piece, seq int64, ok bool) {
	r.next.Lock()
	defer r.next.Unlock()
	if r.ended {
		return p, 0, false
	}
	err := ctx.Err()
	if err == nil {
		p, err = r.Next(ctx)
	}
	if err == nil {
		seq = r.count
		r.count++
		return p, seq, true
	}
	r.ended = true
	if !errors.Is(err, io.EOF) {
		r.await(r.count)
		r.fail(err)
	}
	return p, 0, false
}

// store runs Store when it is the piece's turn.
func (r *run) store(ctx context.Context, p Piece, seq int64, data []byte, scratch *Scratch, err error) {
	if !(r.Early && err == nil) && !r.await(seq) {
		return
	}
	if err == nil {
		err = r.Job.Store(ctx, p, data, scratch, r.newTurn(seq))
	}
	if !r.await(seq) { // where the turn was not taken, errors of earlier pieces go first
		return
	}
	if err != nil {
		r.fail(err)
		return
	}
	r.pass(seq)
}

// newTurn is the turn that a Store may await and pass on; nil where there is no order.
func (r *run) newTurn(seq int64) *formats.Turn {
	if !r.Ordered {
		return nil
	}
	return formats.NewTurn(func() error {
		if !r.await(seq) {
			return context.Canceled
		}
		return nil
	}, func() { r.pass(seq) })
}

// await waits for the turn of a piece, which may have been passed on already; false if the job has failed before.
func (r *run) await(seq int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.Ordered && r.turn < seq && !r.failed {
		r.turned.Wait()
	}
	return !r.failed
}

func (r *run) pass(seq int64) {
	if !r.Ordered {
		return
	}
	r.mu.Lock()
	r.turn = max(r.turn, seq+1)
	r.mu.Unlock()
	r.turned.Broadcast()
}

// fail ends the job; the first error stays.
func (r *run) fail(err error) {
	r.mu.Lock()
	if !r.failed {
		r.failed, r.err = true, err
	}
	r.mu.Unlock()
	r.turned.Broadcast()
	r.cancel()
}

// bufferAlign suits direct I/O on every device.
const bufferAlign = 4096

// Buffer gives n bytes at an address that direct I/O takes.
func Buffer(n int) []byte {
	b := make([]byte, n+bufferAlign)
	skip := -uintptr(unsafe.Pointer(&b[0])) & (bufferAlign - 1)
	return b[skip : int(skip)+n : int(skip)+n]
}

func roundUp(v, to int64) int64 { return (v + to - 1) / to * to }
