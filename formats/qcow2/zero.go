package qcow2

import (
	"context"
	"syscall"

	"platter/formats"
)

// WriteZeroes makes a range read as zeroes by L2 entries alone. ENOTSUP where that cannot be done: in version 2, and
// for parts of a subcluster whose rest holds data.
func (i *image) WriteZeroes(ctx context.Context, off, n int64, f formats.WriteFlags) error {
	if err := i.ready(ctx); err != nil {
		return err
	}
	if i.hdr.version < 3 {
		return syscall.ENOTSUP
	}
	epoch := i.requests.enter()
	err := i.zero(formats.Committed(ctx), guestOff(off), n, f)
	i.requests.leave(epoch)
	if err == nil && f&formats.FUA != 0 {
		return i.commit(ctx)
	}
	return err
}

func (i *image) zero(ctx context.Context, g guestOff, n int64, f formats.WriteFlags) error {
	sub := int64(1) << i.subBits
	end := int64(g) + n
	head := int64(g) & (sub - 1)
	tail := (sub - end&(sub-1)) & (sub - 1)
	if end == i.Size() {
		tail = 0 // nothing is behind it
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if head != 0 || tail != 0 {
		g, n = g-guestOff(head), sub
		if free := i.waitFor(g, n); free < n {
			return syscall.ENOTSUP
		}
		for _, edge := range [][2]int64{{int64(g), head}, {end, tail}} {
			if zero, err := i.readsZero(ctx, guestOff(edge[0]), edge[1]); err != nil || !zero {
				return notSupported(err)
			}
		}
		e, err := i.lookup(ctx, g, n, true)
		if err != nil || e.kind == normal || e.kind == compressed {
			return notSupported(err)
		}
	}
	for n > 0 {
		part := i.waitFor(g, n)
		done, err := i.zeroPart(ctx, g, part, f)
		if err != nil {
			return err
		}
		g, n = g+guestOff(done), n-done
	}
	return nil
}

func notSupported(err error) error {
	if err == nil {
		return syscall.ENOTSUP
	}
	return err
}

// zeroPart marks the cluster at g, or the part of it that [g, g+n) covers, as zeroes and returns how much that is. mu is
// held, and given up while the data file is written.
func (i *image) zeroPart(ctx context.Context, g guestOff, n int64, f formats.WriteFlags) (int64, error) {
	n = min(n, i.clusterSize-i.inCluster(int64(g)))
	start := guestOff(i.clusterStart(int64(g)))
	table, err := i.ownTable(ctx, g)
	if err != nil {
		return 0, err
	}
	if err := i.checkMeta(table, activeL2); err != nil {
		return 0, err
	}
	if i.rawExternal() {
		if err := i.unlocked(start, func() error { return i.data.WriteZeroes(ctx, int64(g), n, f&formats.MayUnmap) }); err != nil {
			return 0, err
		}
	}
	old, bitmap, err := i.entryAt(ctx, g)
	if err != nil {
		return 0, err
	}
	k := i.clusterKind(old)
	whole := g == start && (n == i.clusterSize || int64(g)+n >= i.Size())
	if !whole && i.extended() {
		if k == compressed {
			return 0, syscall.ENOTSUP
		}
		sub := int64(1) << i.subBits
		lo, hi := int(i.inCluster(int64(g))/sub), int((i.inCluster(int64(g))+n+sub-1)/sub)
		return n, i.setEntry(ctx, table, g, old, bitmap&^allocMask(lo, hi)|zeroMask(lo, hi))
	}
	entry, newBitmap := old, bitmap
	unmap := k == compressed || f&formats.MayUnmap != 0 && k.hasHost()
	keep := i.opts.keepRefs && k != compressed
	if unmap && !keep {
		entry = 0
	}
	if i.extended() {
		newBitmap = allZero
	} else {
		entry |= flagZero
	}
	if entry == old && newBitmap == bitmap {
		return n, nil
	}
	if err := i.setEntry(ctx, table, g, entry, newBitmap); err != nil {
		return 0, err
	}
	if unmap {
		return n, i.dropCluster(ctx, start, old, causeRequest, keep)
	}
	return n, nil
}

// unlocked runs f, which moves data of the cluster at start, without mu; requests for that cluster wait. mu is held
// before and after.
func (i *image) unlocked(start guestOff, f func() error) error {
	a := &allocation{start: start, n: i.clusterSize}
	i.pending = append(i.pending, a)
	i.mu.Unlock()
	err := f()
	i.mu.Lock()
	i.unregister(a)
	return err
}

// dropCluster gives up the host cluster of an entry that names it no more; with keep the entry still does, and only the
// storage is given up. mu is held.
func (i *image) dropCluster(ctx context.Context, start guestOff, entry uint64, why cause, keep bool) error {
	if !i.external() && !keep {
		i.releaseEntry(entry, why)
		return nil
	}
	if !i.opts.discard[why] || !i.clusterKind(entry).hasHost() {
		return nil
	}
	return i.unlocked(start, func() error {
		// It is an offer: what the file below cannot give up, it keeps.
		_ = i.data.Discard(ctx, int64(entry&entryOffset), i.clusterSize)
		return nil
	})
}
