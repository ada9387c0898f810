package qcow2

import (
	"context"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

// ReadAt reads, run by run; neighbouring clusters that lie one behind the other in the file are one read.
func (i *image) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := i.usable(); err != nil {
		return err
	}
	if i.data == nil {
		return qerr.New(syscall.EIO, "the external data file of '%s' is not open", i.name)
	}
	epoch := i.requests.enter()
	defer i.requests.leave(epoch)
	return i.readGuest(ctx, p, guestOff(off), false)
}

// readGuest reads what the guest sees. The caller is counted by an epoch.
func (i *image) readGuest(ctx context.Context, p []byte, g guestOff, locked bool) error {
	begun := locked // with mu held nothing is read ahead
	for len(p) > 0 {
		e, err := i.lookupLong(ctx, g, int64(len(p)), locked)
		if err != nil {
			return err
		}
		if e.kind == compressed {
			if !begun {
				begun = true
				i.readAhead(ctx, g, int64(len(p)))
			}
			e.n, err = i.readCompressed(ctx, p, g, e)
		} else {
			err = i.readRun(ctx, p[:e.n], g, e)
		}
		if err != nil {
			return err
		}
		p, g = p[e.n:], g+guestOff(e.n)
	}
	return nil
}

// lookupLong is lookup past the ends of slices, as long as the run goes on.
func (i *image) lookupLong(ctx context.Context, g guestOff, n int64, locked bool) (extent, error) {
	e, err := i.lookup(ctx, g, n, locked)
	if err != nil || e.kind == compressed {
		return e, err
	}
	// A run can go on only where a slice ends.
	for e.n < n && int64(g+guestOff(e.n))&(1<<(i.sliceBits+i.clusterBits)-1) == 0 {
		next, err := i.lookup(ctx, g+guestOff(e.n), n-e.n, locked)
		if err != nil {
			return e, err
		}
		if next.kind != e.kind || e.kind.hasHost() && next.host != e.host+hostOff(e.n) {
			break
		}
		e.n += next.n
	}
	return e, nil
}

func (i *image) readRun(ctx context.Context, p []byte, g guestOff, e extent) error {
	switch e.kind {
	case normal:
		return i.readData(ctx, p, g, e.host)
	case unallocated, unallocatedAlloc:
		return i.readBacking(ctx, p, int64(g))
	}
	clear(p)
	return nil
}

// readBacking reads from the backing file; what lies past its end is zeroes.
func (i *image) readBacking(ctx context.Context, p []byte, off int64) error {
	n := int64(0)
	if i.backing != nil {
		n = min(max(i.backing.Size()-off, 0), int64(len(p)))
	}
	clear(p[n:])
	if n == 0 {
		return nil
	}
	i.events.Raise(formats.EventReadBacking)
	return i.backing.ReadAt(ctx, p[:n], off)
}
