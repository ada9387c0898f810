package chain

import (
	"context"

	"platter/formats"
)

var _ formats.Lender = (*Node)(nil)

// Lend lends what the driver can lend; the node stays as it is, as for a request, until the loan is given back.
func (n *Node) Lend(off, length int64, l *formats.Loan) bool {
	if n.lender == nil || off < 0 || length < 0 {
		return false
	}
	// Once for each loan: a second turn at the gate would wait for those who wait to have it alone.
	if !l.Held(n, 0) {
		if n.enter(context.Background()) != nil {
			return false
		}
		l.Hold(n, 0)
	}
	return off+length <= n.img.Size() && n.lender.Lend(off, length, l)
}

// Return ends the request that a loan was.
func (n *Node) Return(uint64) { n.leave() }
