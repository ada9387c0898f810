package qcow2

import (
	"context"
	"sync"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

// allocation is a run of guest clusters whose L2 entries a request is about to change. Whatever changes the same guest
// clusters waits until it has left image.pending.
type allocation struct {
	start  guestOff // of the first cluster
	n      int64    // bytes, whole clusters
	host   hostOff  // where start is to lie
	fresh  bool     // the host clusters are new, not those that the entries name already
	virgin bool     // … and read as zeroes

	req      guestOff // what the request writes …
	reqN     int64
	from, to guestOff // … and what must be filled around it, so that the entries may call it stored
	headZero bool     // what lies around reads as zeroes
	tailZero bool
}

// place is where a part of a write goes: in place, or with an allocation.
type place struct {
	host  hostOff
	n     int64
	alloc *allocation
}

// WriteAt writes; the parts that have their clusters are overwritten, the others get new ones.
func (i *image) WriteAt(ctx context.Context, p []byte, off int64, f formats.WriteFlags) error {
	if err := i.ready(ctx); err != nil {
		return err
	}
	if err := i.write(ctx, p, guestOff(off)); err != nil {
		return err
	}
	if f&formats.FUA != 0 {
		return i.commit(ctx)
	}
	return nil
}

// ready is called before a request that may change metadata: it makes room in the caches.
func (i *image) ready(ctx context.Context) error {
	if err := i.usable(); err != nil {
		return err
	}
	if i.data == nil {
		return qerr.New(syscall.EIO, "the external data file of '%s' is not open", i.name)
	}
	if i.crowded() {
		return i.commit(ctx)
	}
	return nil
}

func (i *image) write(ctx context.Context, p []byte, g guestOff) error {
	epoch := i.requests.enter()
	defer i.requests.leave(epoch)
	ctx = context.WithoutCancel(ctx)
	var hint hostOff
	for len(p) > 0 {
		w, err := i.placeFor(ctx, g, int64(len(p)), hint)
		if err != nil {
			return err
		}
		part := p[:w.n]
		if w.alloc == nil {
			err = i.writeData(ctx, part, g, w.host)
		} else {
			err = i.fill(ctx, w.alloc, part)
			err = i.settle(ctx, w.alloc, err)
		}
		if err != nil {
			return err
		}
		p, g, hint = p[w.n:], g+guestOff(w.n), w.host+hostOff(w.n)
	}
	return nil
}

// waitFor waits until no allocation is pending for the cluster at g, and returns how many of n bytes are free of them.
// mu is held, and given up while waiting.
func (i *image) waitFor(g guestOff, n int64) int64 {
again:
	first := guestOff(i.clusterStart(int64(g)))
	for _, a := range i.pending {
		if a.start+guestOff(a.n) <= first || a.start >= g+guestOff(n) {
			continue
		}
		if a.start <= first {
			i.linked.Wait()
			goto again
		}
		n = int64(a.start - g)
	}
	return n
}

// placeFor finds or makes the place for the first part of a write of n bytes at g.
func (i *image) placeFor(ctx context.Context, g guestOff, n int64, hint hostOff) (place, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	n = i.waitFor(g, n)
	// One part stays within a slice of the L2 table.
	n = min(n, int64(1)<<(i.sliceBits+i.clusterBits)-int64(g)&(1<<(i.sliceBits+i.clusterBits)-1))
	table, err := i.ownTable(ctx, g)
	if err != nil {
		return place{}, err
	}
	if err := i.checkMeta(table, activeL2); err != nil {
		return place{}, err
	}
	run, err := i.writeRun(ctx, table, g, n)
	if err != nil {
		return place{}, err
	}
	switch run.kind {
	case inPlace:
		return place{host: run.host, n: run.n}, i.checkWrite(run.host, run.n)
	case keepCluster:
		if err := i.checkWrite(run.host, run.n); err != nil {
			return place{}, err
		}
		return i.register(ctx, g, run, false)
	}
	return i.newClusters(ctx, g, run, hint)
}

type runKind uint8

const (
	inPlace     runKind = iota // stored in clusters of its own
	keepCluster                // has clusters of its own, but their entries must change
	newCluster
)

type writeRun struct {
	kind runKind
	host hostOff
	n    int64
}

// writeRun finds how many of n bytes at g can be written in the same way as the first. mu is held.
func (i *image) writeRun(ctx context.Context, table hostOff, g guestOff, n int64) (writeRun, error) {
	t, in, err := i.sliceAt(ctx, table, i.l2Index(g), true)
	if err != nil {
		return writeRun{}, err
	}
	var w writeRun
	for w.n < n {
		at := g + guestOff(w.n)
		inside := i.inCluster(int64(at))
		step := min(i.clusterSize-inside, n-w.n)
		entry, bitmap := t.Get(in*i.entryWords), uint64(0)
		if i.extended() {
			bitmap = t.Get(2*in + 1)
		}
		e := extent{kind: i.clusterKind(entry), host: hostOff(int64(entry&entryOffset) + inside)}
		if i.extended() {
			e.kind = i.subKind(entry, bitmap, int(inside>>i.subBits))
		}
		if err := i.validate(e, at, int64(table)); err != nil {
			return w, err
		}
		k := i.howToWrite(entry, bitmap, inside, step)
		if w.n == 0 {
			w.kind, w.host = k, e.host
		} else if k != w.kind || k != newCluster && e.host != w.host+hostOff(w.n) {
			break
		}
		w.n += step
		in++
	}
	return w, nil
}

// howToWrite looks at one cluster of which n bytes from inside on are to be written.
func (i *image) howToWrite(entry, bitmap uint64, inside, n int64) runKind {
	k := i.clusterKind(entry)
	if !k.hasHost() || entry&flagCopied == 0 {
		return newCluster
	}
	if !i.extended() {
		if k == normal {
			return inPlace
		}
		return keepCluster
	}
	want := allocMask(int(inside>>i.subBits), int((inside+n-1)>>i.subBits)+1)
	if bitmap&want == want && bitmap&(want<<32) == 0 {
		return inPlace
	}
	return keepCluster
}

// newClusters allocates for a run of clusters. mu is held.
func (i *image) newClusters(ctx context.Context, g guestOff, run writeRun, hint hostOff) (place, error) {
	start := i.clusterStart(int64(g))
	whole := i.roundUp(int64(g)+run.n) - start
	if i.external() {
		run.host = hostOff(g)
		return i.register(ctx, g, run, true)
	}
	if err := i.markDirty(ctx); err != nil {
		return place{}, err
	}
	var host hostOff
	got := int64(0)
	var err error
	if hint != 0 && i.inCluster(int64(hint)) == 0 {
		if got, err = i.allocClustersAt(ctx, hint, whole>>i.clusterBits); err != nil {
			return place{}, err
		}
		host = hint
	}
	if got == 0 {
		if host, err = i.allocClusters(ctx, whole); err != nil {
			return place{}, err
		}
		got = whole >> i.clusterBits
	}
	run.n = min(run.n, start+got<<i.clusterBits-int64(g))
	run.host = host + hostOff(i.inCluster(int64(g)))
	w, err := i.register(ctx, g, run, true)
	if err != nil {
		i.freeNow(ctx, host, got<<i.clusterBits)
		return w, err
	}
	w.alloc.virgin = i.takeVirgin(host, got<<i.clusterBits)
	return w, nil
}

// register makes a pending allocation of a run. mu is held.
func (i *image) register(ctx context.Context, g guestOff, run writeRun, fresh bool) (place, error) {
	start, end := guestOff(i.clusterStart(int64(g))), g+guestOff(run.n)
	a := &allocation{start: start, n: i.roundUp(int64(end)) - int64(start), fresh: fresh, req: g, reqN: run.n,
		host: run.host - hostOff(g-start)}
	var err error
	if a.from, a.to, err = i.around(ctx, a); err != nil {
		return place{}, err
	}
	if a.headZero, err = i.readsZero(ctx, a.from, int64(g-a.from)); err != nil {
		return place{}, err
	}
	if a.tailZero, err = i.readsZero(ctx, end, int64(a.to-end)); err != nil {
		return place{}, err
	}
	i.pending = append(i.pending, a)
	return place{host: run.host, n: run.n, alloc: a}, nil
}

// around finds what must be filled around the written bytes. mu is held.
func (i *image) around(ctx context.Context, a *allocation) (from, to guestOff, err error) {
	end := a.req + guestOff(a.reqN)
	if !i.extended() {
		return a.start, a.start + guestOff(a.n), nil
	}
	sub := guestOff(1)<<i.subBits - 1
	from, to = a.req&^sub, (end+sub)&^sub
	last := guestOff(i.clusterStart(int64(end - 1)))
	head, hb, err := i.entryAt(ctx, a.start)
	if err != nil {
		return 0, 0, err
	}
	tail, tb, err := i.entryAt(ctx, last)
	if err != nil {
		return 0, 0, err
	}
	if !a.fresh { // what is stored stays where it is
		if i.subKind(head, hb, int((from-a.start)>>i.subBits)) == normal {
			from = a.req
		}
		if i.subKind(tail, tb, int((to-1-last)>>i.subBits)) == normal {
			to = end
		}
		return from, to, nil
	}
	// The data of other subclusters moves to the new cluster as well.
	if i.clusterKind(head) == compressed {
		from = a.start
	} else {
		from = min(from, a.start+guestOff(firstAlloc(hb))<<i.subBits)
	}
	if i.clusterKind(tail) == compressed {
		to = last + guestOff(i.clusterSize)
	} else {
		to = max(to, last+guestOff(lastAlloc(tb)+1)<<i.subBits)
	}
	return from, to, nil
}

// readsZero reports whether [g, g+n) surely reads as zeroes. mu is held.
func (i *image) readsZero(ctx context.Context, g guestOff, n int64) (bool, error) {
	for n > 0 {
		e, err := i.lookup(ctx, g, n, true)
		if err != nil {
			return false, err
		}
		switch e.kind {
		case zeroPlain, zeroAlloc:
		case unallocated, unallocatedAlloc:
			if i.backing != nil && int64(g) < i.backing.Size() {
				return false, nil
			}
		default:
			return false, nil
		}
		g, n = g+guestOff(e.n), n-e.n
	}
	return true, nil
}

// settle links an allocation whose data is in the file, or gives it up, and lets others go on.
func (i *image) settle(ctx context.Context, a *allocation, failed error) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	err := failed
	if err == nil {
		err = i.link(ctx, a)
	}
	if err != nil && a.fresh && !i.external() {
		i.freeNow(ctx, a.host, a.n)
	}
	i.unregister(a)
	return err
}

func (i *image) unregister(a *allocation) {
	for k, o := range i.pending {
		if o == a {
			last := len(i.pending) - 1
			i.pending[k], i.pending[last] = i.pending[last], nil
			i.pending = i.pending[:last]
			break
		}
	}
	i.linked.Broadcast()
}

// link makes the L2 entries of an allocation name its clusters. mu is held.
func (i *image) link(ctx context.Context, a *allocation) error {
	table, err := i.ownTable(ctx, a.start)
	if err != nil {
		return err
	}
	for off := guestOff(0); off < guestOff(a.n); off += guestOff(i.clusterSize) {
		g := a.start + off
		old, bitmap, err := i.entryAt(ctx, g)
		if err != nil {
			return err
		}
		entry := uint64(a.host+hostOff(off)) | flagCopied
		if i.extended() {
			lo := int(max(a.from-g, 0) >> i.subBits)
			hi := int((min(a.to-g, guestOff(i.clusterSize)) + 1<<i.subBits - 1) >> i.subBits)
			if i.clusterKind(old) == compressed {
				bitmap = 0
			}
			bitmap = bitmap&^zeroMask(lo, hi) | allocMask(lo, hi)
		}
		if err := i.setEntry(ctx, table, g, entry, bitmap); err != nil {
			return err
		}
		if a.fresh {
			i.releaseEntry(old, causeNever)
		}
	}
	return nil
}

// releaseEntry gives up what a former L2 entry referred to. mu is held.
func (i *image) releaseEntry(entry uint64, why cause) {
	switch k := i.clusterKind(entry); {
	case i.external():
	case k == compressed:
		off, n := i.compressedAt(entry)
		i.release(off, n, why)
	case k.hasHost():
		i.release(hostOff(entry&entryOffset), i.clusterSize, why)
	}
}

// maxMerged bounds the buffers in which data and what surrounds it are written together.
const maxMerged = 1 << 20

var mergeBuffers = sync.Pool{New: func() any { return new([]byte) }}

// fill writes the data of an allocation and what surrounds it.
func (i *image) fill(ctx context.Context, a *allocation, p []byte) error {
	head, tail := int64(a.req-a.from), int64(a.to-a.req)-a.reqN
	zeroes := (head == 0 || a.headZero) && (tail == 0 || a.tailZero)
	at := a.host + hostOff(a.req-a.start)
	switch {
	case head+tail == 0, zeroes && a.virgin && i.cipher == nil:
		return i.writeData(ctx, p, a.req, at)
	case zeroes && i.cipher == nil && head+tail > 64<<10:
		if err := i.zeroHost(ctx, at-hostOff(head), head); err != nil {
			return err
		}
		if err := i.zeroHost(ctx, at+hostOff(a.reqN), tail); err != nil {
			return err
		}
		return i.writeData(ctx, p, a.req, at)
	case head+tail+a.reqN <= maxMerged:
		return i.writeMerged(ctx, a, p, head, tail)
	}
	// Too much for one buffer: the edges by themselves, each less than a cluster.
	if head > 0 {
		if err := i.copyEdge(ctx, a, a.from, head); err != nil {
			return err
		}
	}
	if tail > 0 {
		if err := i.copyEdge(ctx, a, a.req+guestOff(a.reqN), tail); err != nil {
			return err
		}
	}
	return i.writeData(ctx, p, a.req, at)
}

func (i *image) zeroHost(ctx context.Context, at hostOff, n int64) error {
	if n == 0 {
		return nil
	}
	return i.data.WriteZeroes(ctx, int64(at), n, 0)
}

func (i *image) writeMerged(ctx context.Context, a *allocation, p []byte, head, tail int64) error {
	b := mergeBuffers.Get().(*[]byte)
	defer mergeBuffers.Put(b)
	buf := sized(b, head+a.reqN+tail)
	if err := i.readEdge(ctx, buf[:head], a.from, a.headZero); err != nil {
		return err
	}
	copy(buf[head:], p)
	if err := i.readEdge(ctx, buf[head+a.reqN:], a.req+guestOff(a.reqN), a.tailZero); err != nil {
		return err
	}
	return i.writeOwn(ctx, buf, a.from, a.host+hostOff(a.from-a.start))
}

func (i *image) readEdge(ctx context.Context, p []byte, g guestOff, zero bool) error {
	if zero || len(p) == 0 {
		clear(p)
		return nil
	}
	return i.readGuest(ctx, p, g, false)
}

func (i *image) copyEdge(ctx context.Context, a *allocation, g guestOff, n int64) error {
	b := mergeBuffers.Get().(*[]byte)
	defer mergeBuffers.Put(b)
	buf := sized(b, n)
	if err := i.readEdge(ctx, buf, g, false); err != nil {
		return err
	}
	return i.writeOwn(ctx, buf, g, a.host+hostOff(g-a.start))
}

// writeData writes data of the caller's, which stays as it is.
func (i *image) writeData(ctx context.Context, p []byte, g guestOff, h hostOff) error {
	if i.cipher == nil {
		return i.data.WriteAt(ctx, p, int64(h), 0)
	}
	b := mergeBuffers.Get().(*[]byte)
	defer mergeBuffers.Put(b)
	for len(p) > 0 {
		buf := sized(b, min(int64(len(p)), maxMerged))
		if err := i.cipher.Encrypt(buf, p[:len(buf)], i.ivOffset(g, h)); err != nil {
			return err
		}
		if err := i.data.WriteAt(ctx, buf, int64(h), 0); err != nil {
			return err
		}
		p, g, h = p[len(buf):], g+guestOff(len(buf)), h+hostOff(len(buf))
	}
	return nil
}

// writeOwn writes a buffer that may be overwritten by its encrypted form.
func (i *image) writeOwn(ctx context.Context, buf []byte, g guestOff, h hostOff) error {
	if i.cipher != nil {
		if err := i.cipher.Encrypt(buf, buf, i.ivOffset(g, h)); err != nil {
			return err
		}
	}
	return i.data.WriteAt(ctx, buf, int64(h), 0)
}
