package fusefs

import (
	"fmt"
	"os"
	"testing"
	"time"
)

func TestSignalsThatStop(t *testing.T) {
	status := "Name:\tx\nState:\t%s\nSigPnd:\t%016x\nShdPnd:\t%016x\nSigBlk:\t%016x\nSigIgn:\t%016x\n"
	bit := func(n int) uint64 { return 1 << (n - 1) }
	for _, c := range []struct {
		state                         string
		own, shared, blocked, ignored uint64
		want                          bool
	}{
		{"D (disk sleep)", 0, 0, 0, 0, false}, {"S (sleeping)", bit(23), bit(17), 0, 0, false}, {"S", bit(2), 0, 0, 0, true},
		{"S", bit(23), bit(15), 0, 0, true}, {"S", 0, bit(2), bit(2), 0, false}, {"S", 0, bit(1), 0, bit(1), false},
		{"S", bit(9), 0, 0, 0, true}, {"Z (zombie)", 0, 0, 0, 0, true},
	} {
		if got := stops(fmt.Appendf(nil, status, c.state, c.own, c.shared, c.blocked, c.ignored)); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// A caller that got a signal of no meaning is waited for; one that has ended is not.
func TestCallersEnd(t *testing.T) {
	closed := make(chan struct{})
	close(closed)
	ctx, stop := caller{closed, uint32(os.Getpid())}.context()
	select {
	case <-ctx.Done():
		t.Error("the caller lives and was given up")
	case <-time.After(3 * stopPoll):
	}
	stop()
	ctx, stop = caller{closed, 1 << 30}.context()
	defer stop()
	<-ctx.Done()
}
