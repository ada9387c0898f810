package tools

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"platter/chain"
	"platter/formats"
	"platter/formats/qerr"
	"platter/tools/copier"
)

// BenchOptions says what is to be measured.
type BenchOptions struct {
	Source        Source
	Count         int64  // requests
	Depth         int64  // requests at a time
	Offset        int64  // of the first request, in bytes
	BufferSize    int64  // of a request, in bytes
	StepSize      int64  // from one request to the next, in bytes; 0: BufferSize
	AIO           string // "", threads, native or io_uring: how files are read and written
	Write         bool
	Pattern       byte
	FlushInterval int64 // requests; 0: no flush
	NoDrain       bool  // requests go on while a flush is under way
	// Begin is called when the image is open, before the first request.
	Begin func(BenchOptions)
}

// Bench sends requests to an image and gives the time that they took.
func Bench(ctx context.Context, env *Env, o BenchOptions) (took time.Duration, err error) {
	n, err := o.Source.Open(ctx, env, o.flags())
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil { // the request that failed is all that is told
			n.Close()
			return
		}
		closing(env, n, &err)
	}()
	if o.StepSize == 0 {
		o.StepSize = o.BufferSize
	}
	o.Begin(o)
	b := &benchmark{BenchOptions: o, node: n}
	start := time.Now()
	err = b.run(ctx)
	return time.Since(start), err
}

// flags are those with which the image is opened.
func (o BenchOptions) flags() formats.OpenFlags {
	flags := formats.OpenFlags(0)
	if o.Write {
		flags = formats.ReadWrite
	}
	switch o.AIO {
	case "native":
		flags |= formats.NativeAIO
	case "io_uring":
		flags |= formats.IOUring
	}
	return flags
}

// benchmark is a Bench under way.
type benchmark struct {
	BenchOptions
	node  *chain.Node
	next  atomic.Int64 // number of the next request
	round int64        // requests are sent up to here
	stop  atomic.Bool
	once  sync.Once
	err   error
}

func (b *benchmark) fail(text string, err error) {
	b.once.Do(func() { b.err = qerr.Prepend(bare(err), "%s: ", text) })
	b.stop.Store(true)
}

// run sends all requests, round by round: a flush stands between two rounds.
func (b *benchmark) run(ctx context.Context) error {
	slots := b.slots()
	var flushes sync.WaitGroup
	for b.round < b.Count && !b.stop.Load() {
		b.round = b.roundEnd(b.round)
		var wait sync.WaitGroup
		for _, buf := range slots[1:] {
			wait.Go(func() { b.send(ctx, buf) })
		}
		b.send(ctx, slots[0])
		wait.Wait()
		switch {
		case b.FlushInterval == 0 || b.stop.Load():
		case b.NoDrain:
			flushes.Go(func() { b.flush(ctx, "Failed flush request") })
		default:
			b.flush(ctx, "Failed request")
		}
	}
	flushes.Wait()
	return b.err
}

// roundEnd gives the number of the request before which the next flush stands: those that remain are a multiple of the
// interval then.
func (b *benchmark) roundEnd(done int64) int64 {
	if b.FlushInterval == 0 {
		return b.Count
	}
	left := b.Count - done
	if n := left % b.FlushInterval; n != 0 {
		return done + n
	}
	return done + b.FlushInterval
}

// maxSlots bounds the requests under way: beyond it the kernel's queues are full long since.
const maxSlots = 1024

// slots makes a buffer for each request that is under way at once.
func (b *benchmark) slots() [][]byte {
	slots := make([][]byte, min(b.Depth, b.Count, maxSlots))
	for i := range slots {
		slots[i] = copier.Buffer(int(b.BufferSize))
		for k := range slots[i] {
			slots[i][k] = b.Pattern
		}
	}
	return slots
}

// send sends requests until the round is over.
func (b *benchmark) send(ctx context.Context, buf []byte) {
	for !b.stop.Load() {
		i := b.next.Add(1) - 1
		if i >= b.round {
			b.next.Add(-1)
			return
		}
		var err error
		if off := b.offset(i); b.Write {
			err = b.node.WriteAt(ctx, buf, off, 0)
		} else {
			err = b.node.ReadAt(ctx, buf, off)
		}
		if err != nil {
			b.fail("Failed request", err)
		}
	}
}

// offset is where request i goes: StepSize behind the one before, from the start again at the end. A request that begins
// before the end and goes past it fails, as it does in qemu-img 10.0.2.
func (b *benchmark) offset(i int64) int64 {
	if i == 0 {
		return b.Offset
	}
	size := uint64(b.node.Size())
	if size <= uint64(b.BufferSize) {
		return 0
	}
	return int64((uint64(b.Offset) + uint64(i)*uint64(b.StepSize)) % size)
}

func (b *benchmark) flush(ctx context.Context, text string) {
	if err := b.node.Flush(ctx); err != nil {
		b.fail(text, err)
	}
}
