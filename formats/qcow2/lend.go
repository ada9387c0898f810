package qcow2

import (
	"context"

	"platter/formats"
)

// Lend lends the runs of a range that lie in the file as they are read, zeroes, and what the backing file lends. What
// is compressed or encrypted must be read.
func (i *image) Lend(off, n int64, l *formats.Loan) bool {
	if i.data == nil || i.cipher != nil || i.corrupt.Load() {
		return false
	}
	ctx := context.Background()
	l.Hold(i, i.requests.enter())
	for g := guestOff(off); n > 0; {
		e, err := i.lookupLong(ctx, g, n, false)
		if err != nil || !i.lendRun(g, e, l) {
			return false
		}
		g, n = g+guestOff(e.n), n-e.n
	}
	return true
}

// Return ends the request that a loan was: host clusters may get other uses.
func (i *image) Return(epoch uint64) { i.requests.leave(epoch) }

func (i *image) lendRun(g guestOff, e extent, l *formats.Loan) bool {
	switch e.kind {
	case normal:
		return lendFrom(i.data, int64(e.host), e.n, l)
	case zeroPlain, zeroAlloc:
		return l.AddZeroes(e.n)
	case unallocated, unallocatedAlloc:
		n := int64(0)
		if i.backing != nil {
			n = min(max(i.backing.Size()-int64(g), 0), e.n)
		}
		return (n == 0 || lendFrom(i.backing, int64(g), n, l)) && l.AddZeroes(e.n-n)
	}
	return false
}

func lendFrom(f formats.File, off, n int64, l *formats.Loan) bool {
	below, ok := f.(formats.Lender)
	return ok && below.Lend(off, n, l)
}
