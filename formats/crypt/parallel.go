package crypt

import (
	"runtime"
	"sync"
)

// A part of a large buffer is at least minPart bytes, about 25 µs of AES: starting a goroutine costs a hundredth.
const (
	minPart  = 32 << 10
	maxParts = 16
)

// parts says over how many goroutines a buffer of n bytes is spread.
func parts(n int) int {
	if n < 2*minPart {
		return 1
	}
	return min(n/minPart, runtime.GOMAXPROCS(0), maxParts)
}

// part is the share of one goroutine. run is bound once, so that `go` allocates nothing.
type part struct {
	block   *Block
	off     uint64
	p       []byte
	encrypt bool
	run     func()
}

// batch is the parts of one call, kept for the next one.
type batch struct {
	wait  sync.WaitGroup
	parts [maxParts]part
}

func newBatch() *batch {
	t := new(batch)
	for i := range t.parts {
		q := &t.parts[i]
		q.run = func() {
			q.block.run(q.off, q.p, q.encrypt)
			t.wait.Done()
		}
	}
	return t
}

// spread divides p at multiples of batchLen among n goroutines, the calling one among them.
func (b *Block) spread(off uint64, p []byte, encrypt bool, n int) {
	t := b.batches.Get().(*batch)
	share := (len(p)/n + batchLen - 1) / batchLen * batchLen
	i := 0
	for ; len(p) > share; i++ {
		q := &t.parts[i]
		q.block, q.off, q.p, q.encrypt = b, off, p[:share:share], encrypt
		t.wait.Add(1)
		go q.run()
		p = p[share:]
		off += uint64(share)
	}
	b.run(off, p, encrypt)
	t.wait.Wait()
	for j := range i {
		t.parts[j].p = nil
	}
	b.batches.Put(t)
}
