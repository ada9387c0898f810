package qcow2

import (
	"context"

	"platter/formats"
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
	empty    bool     // nothing is written: the entries only get their clusters (preallocation)
	headZero bool     // what lies around reads as zeroes
	tailZero bool
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
			if i.backing == nil || int64(g) >= i.backing.Size() {
				break
			}
			b, ok := i.backing.(formats.Layered)
			if !ok {
				return false, nil
			}
			below, err := b.ChainStatus(ctx, int64(g), e.n)
			if err != nil || below.Len == 0 || !below.State.Has(formats.Zero) {
				return false, err
			}
			e.n = min(e.n, below.Len)
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

// link makes the L2 entries of an allocation, which lies in one slice, name its clusters. mu is held.
func (i *image) link(ctx context.Context, a *allocation) error {
	table, err := i.ownTable(ctx, a.start)
	if err != nil {
		return err
	}
	t, in, err := i.sliceAt(ctx, table, i.l2Index(a.start), true)
	if err != nil {
		return err
	}
	var few [32]uint64
	words := few[:0]
	for off := guestOff(0); off < guestOff(a.n); off += guestOff(i.clusterSize) {
		at := (in + int(off>>i.clusterBits)) * i.entryWords
		old := t.Get(at)
		words = append(words, uint64(a.host+hostOff(off))|flagCopied)
		if i.extended() {
			words = append(words, i.linkedBitmap(a, a.start+off, old, t.Get(at+1)))
		}
		if a.fresh {
			i.releaseEntry(old, causeNever)
		}
	}
	i.l2.Set(t, in*i.entryWords, words...)
	return nil
}

// linkedBitmap is what the subclusters of the cluster at g are once allocation a is linked.
func (i *image) linkedBitmap(a *allocation, g guestOff, old, bitmap uint64) uint64 {
	if a.empty {
		return bitmap
	}
	if i.clusterKind(old) == compressed {
		bitmap = 0
	}
	lo := int(max(a.from-g, 0) >> i.subBits)
	hi := int((min(a.to-g, guestOff(i.clusterSize)) + 1<<i.subBits - 1) >> i.subBits)
	return bitmap&^zeroMask(lo, hi) | allocMask(lo, hi)
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
