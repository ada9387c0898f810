package qcow2

import (
	"context"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

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
	return ctx.Err()
}

func (i *image) write(ctx context.Context, p []byte, g guestOff) error {
	return i.writeBy(ctx, g, int64(len(p)), func(ctx context.Context, w place, done int64) error {
		part := p[done : done+w.n]
		if w.alloc == nil {
			return i.writeData(ctx, part, g+guestOff(done), w.host)
		}
		return i.fill(ctx, w.alloc, part)
	})
}

// CopyIn gives the clusters of a range their places and has the file copy the data there.
func (i *image) CopyIn(ctx context.Context, off, n int64, fd int, from int64) error {
	if err := i.ready(ctx); err != nil {
		return err
	}
	to, ok := i.data.(formats.HostCopier)
	if !ok || i.cipher != nil || i.inCluster(off) != 0 || i.inCluster(n) != 0 {
		return syscall.ENOTSUP
	}
	return i.writeBy(ctx, guestOff(off), n, func(ctx context.Context, w place, done int64) error {
		return to.CopyIn(ctx, int64(w.host), w.n, fd, from+done)
	})
}

// writeBy finds or makes the places for n bytes at g and has store fill them, from the first byte on.
func (i *image) writeBy(ctx context.Context, g guestOff, n int64, store func(ctx context.Context, w place, done int64) error) error {
	epoch := i.requests.enter()
	defer i.requests.leave(epoch)
	turn := formats.TurnOf(ctx)
	if err := turn.Await(); err != nil {
		return err
	}
	ctx = formats.Committed(formats.WithTurn(ctx, nil))
	var hint hostOff
	for done := int64(0); done < n; {
		w, err := i.placeFor(ctx, g+guestOff(done), n-done, hint)
		if err != nil {
			return err
		}
		if err := i.commitTables(ctx); err != nil {
			if w.alloc != nil {
				err = i.settle(ctx, w.alloc, err)
			}
			return err
		}
		if w.n == n-done { // all is allocated
			turn.Pass()
		}
		err = store(ctx, w, done)
		if w.alloc != nil {
			err = i.settle(ctx, w.alloc, err)
		}
		if err != nil {
			return err
		}
		done, hint = done+w.n, w.host+hostOff(w.n)
	}
	return nil
}

// placeFor finds or makes the place for the first part of a write of n bytes at g.
func (i *image) placeFor(ctx context.Context, g guestOff, n int64, hint hostOff) (place, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	n = i.waitFor(g, n)
	// One part stays within a slice of the L2 table, which is as large as QEMU's are: that decides how new files look.
	part := i.clusterSize << i.sliceBits
	n = min(n, part-int64(g)&(part-1))
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
	w.alloc.virgin = i.isVirgin(host)
	return w, nil
}
