package qcow2

import (
	"context"
	"runtime"
	"sync"
	"syscall"

	"platter/formats"
	"platter/formats/codec"
)

// decodedClusters keeps clusters that were decompressed, by their descriptors: what a descriptor refers to does not
// change before it is given up, and then forget is called. Workers decompress those that a reader in order will want
// next, on processors that the requests of the image leave free.
type decodedClusters struct {
	mu      sync.Mutex
	slots   []*decodedSlot
	clock   uint64
	ahead   []*decodedSlot // to be decompressed, in the order in which they will be wanted
	workers int            // goroutines that do so …
	busy    int            // … and requests that decompress
	closed  bool
	idle    sync.WaitGroup // workers
	streams [4]stream
}

// decodedSlot is a cluster. Its fields belong to the lock of decodedClusters; what is in buf belongs to whoever makes it,
// and then to the users.
type decodedSlot struct {
	entry uint64
	state slotState
	want  int64 // how much is to be decompressed
	buf   []byte
	data  []byte // what is: the beginning of the cluster, or all of it
	err   error
	users int           // requests that use or want it
	used  uint64        // when it was last, 0: nobody is expected to come back
	ready chan struct{} // closed when it is made or has failed; nil while nobody waits
}

type slotState int

const (
	slotWanted slotState = iota // nobody has begun
	slotMaking
	slotMade
	slotFailed
)

const (
	decodedBytes = 4 << 20 // how much is kept, at least 4 clusters
	aheadBytes   = 2 << 20 // how much of it may be what a reader has not asked for yet
)

// find gives the slot of a descriptor, which now has the caller as a user, or nil.
func (d *decodedClusters) find(entry uint64) *decodedSlot {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lookFor(entry)
}

// obtain is find that makes a slot if there is none, of which the first want bytes are to be decompressed. It gives nil
// if all places are in use.
func (d *decodedClusters) obtain(entry uint64, clusterSize, want int64) *decodedSlot {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.lookFor(entry)
	if s == nil {
		if s = d.add(entry, clusterSize, want); s != nil {
			s.users++
		}
	}
	return s
}

// lookFor is find with the lock held.
func (d *decodedClusters) lookFor(entry uint64) *decodedSlot {
	for _, s := range d.slots {
		if s.entry == entry {
			d.clock++
			s.used = d.clock
			s.users++
			return s
		}
	}
	return nil
}

// add makes a slot in the place of the one that was not used for the longest time. The lock is held.
func (d *decodedClusters) add(entry uint64, clusterSize, want int64) *decodedSlot {
	d.clock++
	s := &decodedSlot{entry: entry, want: want, used: d.clock}
	if int64(len(d.slots)) < max(4, decodedBytes/clusterSize) {
		s.buf = make([]byte, clusterSize+codec.ZstdSlack)
		d.slots = append(d.slots, s)
		return s
	}
	oldest := -1
	for k, o := range d.slots {
		if o.users == 0 && o.state == slotMade && (oldest < 0 || o.used < d.slots[oldest].used) {
			oldest = k
		}
	}
	if oldest < 0 {
		return nil
	}
	s.buf, d.slots[oldest].buf = d.slots[oldest].buf, nil // fresh memory is dear
	d.slots[oldest] = s
	return s
}

// remove takes a slot out, if it is still there. The lock is held.
func (d *decodedClusters) remove(s *decodedSlot) {
	for k, o := range d.slots {
		if o == s {
			last := len(d.slots) - 1
			d.slots[k], d.slots[last] = d.slots[last], nil
			d.slots = d.slots[:last]
			return
		}
	}
}

// forget drops everything: clusters were given up, and others may get their places. Who uses a slot goes on with it.
func (d *decodedClusters) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.slots)
	d.slots, d.ahead = d.slots[:0], nil
}

// close waits for what is decompressed without a request.
func (d *decodedClusters) close() {
	d.mu.Lock()
	d.ahead, d.closed = nil, true
	d.mu.Unlock()
	d.idle.Wait()
}

// begin says that a request is going to decompress: workers leave it their processor.
func (d *decodedClusters) begin() {
	d.mu.Lock()
	d.busy++
	d.mu.Unlock()
}

// endDecoding is the end of what began with begin.
func (i *image) endDecoding() {
	i.clusters.mu.Lock()
	i.clusters.busy--
	i.startWorkers()
	i.clusters.mu.Unlock()
}

// startWorkers has the clusters ahead decompressed on processors that no request needs. The lock is held.
func (i *image) startWorkers() {
	d := &i.clusters
	for n := len(d.ahead); n > 0 && d.workers+d.busy < decodersAtOnce(); n-- {
		d.workers++
		d.idle.Go(i.decodeAhead)
	}
}

func decodersAtOnce() int { return min(runtime.GOMAXPROCS(0), runtime.NumCPU()) }

// decodeAhead decompresses until there is nothing more, or requests need the processor.
func (i *image) decodeAhead() {
	d := &i.clusters
	d.mu.Lock()
	defer d.mu.Unlock()
	defer func() { d.workers-- }()
	for len(d.ahead) > 0 && d.workers+d.busy <= decodersAtOnce() {
		s := d.ahead[0]
		d.ahead = d.ahead[1:]
		if s.state == slotWanted {
			i.makeSlot(context.Background(), s, false)
		}
	}
}

// makeSlot decompresses what is wanted; asked says that a request does so. The lock is held before and after.
func (i *image) makeSlot(ctx context.Context, s *decodedSlot, asked bool) {
	d := &i.clusters
	s.state, s.err = slotMaking, syscall.EIO
	defer func() {
		s.state, s.data = slotMade, s.buf[:s.want]
		if s.err != nil {
			s.state = slotFailed
			d.remove(s)
		}
		if s.ready != nil {
			close(s.ready)
			s.ready = nil
		}
	}()
	d.mu.Unlock()
	defer d.mu.Lock()
	if asked {
		i.events.Raise(formats.EventReadCompressed)
	}
	own := decoders.Get().(*decoder)
	defer decoders.Put(own)
	s.err = i.decode(ctx, own, s.buf[:s.want], s.entry)
}

// hasSlot brings a slot to where it has failed, or where its first n bytes are made. Others may wait for it as well, so
// it does not end with this request. It returns the slot to use, as another one may have to take the place of one that
// has too little and is in use. The lock is held before and after.
func (i *image) hasSlot(ctx context.Context, s *decodedSlot, n int64) *decodedSlot {
	d := &i.clusters
	for {
		switch {
		case s.state == slotWanted:
			d.busy++
			i.makeSlot(context.WithoutCancel(ctx), s, true)
			d.busy--
			i.startWorkers()
		case s.state == slotMaking:
			if s.ready == nil {
				s.ready = make(chan struct{})
			}
			ready := s.ready
			d.mu.Unlock()
			<-ready
			d.mu.Lock()
		case s.state == slotFailed || int64(len(s.data)) >= n:
			return s
		case s.users == 1: // asked for again: all of it this time
			s.state, s.want = slotWanted, i.clusterSize
		default:
			d.remove(s)
			s.users--
			s = &decodedSlot{entry: s.entry, want: i.clusterSize, users: 1, buf: make([]byte, i.clusterSize+codec.ZstdSlack)}
			d.slots = append(d.slots, s)
		}
	}
}

// readSlot copies from a slot that has the caller as a user, and ends that.
func (i *image) readSlot(ctx context.Context, p []byte, inside int64, s *decodedSlot) error {
	d := &i.clusters
	d.mu.Lock()
	defer d.mu.Unlock()
	s = i.hasSlot(ctx, s, inside+int64(len(p)))
	if s.err == nil {
		d.mu.Unlock()
		copy(p, s.data[inside:])
		d.mu.Lock()
	}
	s.users--
	if int64(len(p)) == i.clusterSize {
		s.used = 0
	}
	return s.err
}

// readSlots reads whole clusters from g on, the first of them from s, as long as there are slots for them.
func (i *image) readSlots(ctx context.Context, p []byte, g guestOff, first *decodedSlot) (int64, error) {
	d := &i.clusters
	var slots [maxBatch]*decodedSlot
	slots[0] = first
	count := 1
	for ; count < maxBatch && int64(count+1)<<i.clusterBits <= int64(len(p)); count++ {
		e, err := i.lookup(ctx, g+guestOff(int64(count)<<i.clusterBits), i.clusterSize, false)
		if err != nil || e.kind != compressed {
			break // whatever it is, it is met again
		}
		if slots[count] = d.find(e.entry); slots[count] == nil {
			break
		}
	}
	// What nobody has begun comes first, while others make the rest; what they begin last they end last.
	d.mu.Lock()
	for k, s := range slots[:count] {
		if s.state == slotWanted {
			slots[k] = i.hasSlot(ctx, s, i.clusterSize)
		}
	}
	d.mu.Unlock()
	var err error
	for k := count - 1; k >= 0; k-- {
		if e := i.readSlot(ctx, p[int64(k)<<i.clusterBits:][:i.clusterSize], 0, slots[k]); e != nil {
			err = e
		}
	}
	return int64(count) << i.clusterBits, err
}
