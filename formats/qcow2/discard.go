package qcow2

import (
	"context"
	"syscall"
)

// Discard gives clusters up. In version 3 they read as zeroes afterwards; version 2 cannot say so, which is why it does
// not discard what a backing file would show through.
func (i *image) Discard(ctx context.Context, off, n int64) error {
	if err := i.ready(ctx); err != nil {
		return err
	}
	if i.hdr.version < 3 && i.backing != nil {
		return syscall.ENOTSUP
	}
	// Parts of a cluster stay, except the last one of an image that ends in it.
	if i.inCluster(off) != 0 || i.inCluster(n) != 0 && off+n != i.Size() {
		return syscall.ENOTSUP
	}
	epoch := i.requests.enter()
	defer i.requests.leave(epoch)
	return i.discardRange(context.WithoutCancel(ctx), guestOff(off), n, causeRequest, false)
}

// discardRange gives up all clusters of a range. full forgets them altogether, whatever the backing file holds there.
func (i *image) discardRange(ctx context.Context, g guestOff, n int64, why cause, full bool) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	for n > 0 {
		part := i.waitFor(g, n)
		e, err := i.lookup(ctx, g, part, true)
		if err != nil {
			return err
		}
		if e.kind == unallocated && (full || i.backing == nil) {
			// Nothing is here, and nothing shows through.
			g, n = g+guestOff(e.n), n-e.n
			continue
		}
		if err := i.discardCluster(ctx, g, why, full); err != nil {
			return err
		}
		g, n = g+guestOff(i.clusterSize), n-i.clusterSize
	}
	return nil
}

// discardCluster gives up one cluster. mu is held.
func (i *image) discardCluster(ctx context.Context, g guestOff, why cause, full bool) error {
	old, bitmap, err := i.entryAt(ctx, g)
	if err != nil {
		return err
	}
	k := i.clusterKind(old)
	keep := i.opts.keepRefs && why == causeRequest && k != compressed && k.hasHost()
	var entry, newBitmap uint64
	switch {
	case full:
	case i.backing != nil || k != unallocated && k != zeroPlain || i.extended() && bitmap != 0:
		if keep {
			entry = old
		}
		if i.extended() {
			newBitmap = allZero
		} else if i.hdr.version >= 3 {
			entry |= flagZero
		}
	default:
		return nil
	}
	if entry == old && newBitmap == bitmap && !keep {
		return nil
	}
	table, err := i.ownTable(ctx, g)
	if err != nil {
		return err
	}
	if err := i.checkMeta(table, activeL2); err != nil {
		return err
	}
	if err := i.setEntry(ctx, table, g, entry, newBitmap); err != nil {
		return err
	}
	return i.dropCluster(ctx, g, old, why, keep)
}
