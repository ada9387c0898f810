package crypt

import (
	"time"

	"golang.org/x/sys/unix"
)

// threadTime is the processor time of the calling thread, so that a loaded machine does not get weaker keys.
func threadTime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) != nil {
		return time.Duration(time.Now().UnixNano())
	}
	return time.Duration(t.Nano())
}
