package fusefs

import (
	"bytes"
	"context"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// caller is the thread that waits for the answer to a request. The kernel tells of every signal that it gets, even of
// those with which language runtimes and shells keep house (Go's preemption sends SIGURG all the time). To end a request
// for one of these would make the caller repeat what may be done already, so a request goes on unless the signal is meant.
type caller struct {
	cancel <-chan struct{} // closed at the first signal
	pid    uint32
}

// housekeeping are the signals that ask nobody to stop.
const housekeeping = 1<<(unix.SIGCHLD-1) | 1<<(unix.SIGURG-1) | 1<<(unix.SIGPROF-1) | 1<<(unix.SIGVTALRM-1) |
	1<<(unix.SIGWINCH-1) | 1<<(unix.SIGCONT-1) | 1<<(unix.SIGIO-1)

// gone reports whether the caller is to stop waiting, or has ended.
func (c caller) gone() bool {
	select {
	case <-c.cancel:
	default:
		return false
	}
	b, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(c.pid), 10) + "/status")
	return err != nil || stops(b)
}

// stops reads a process's status (proc_pid_status(5)).
func stops(status []byte) bool {
	var pending, masked uint64
	for _, line := range bytes.Split(status, []byte("\n")) {
		key, value, _ := bytes.Cut(line, []byte(":\t"))
		switch string(key) {
		case "State":
			if len(value) > 0 && (value[0] == 'Z' || value[0] == 'X') {
				return true
			}
		case "SigPnd", "ShdPnd":
			n, _ := strconv.ParseUint(string(value), 16, 64)
			pending |= n
		case "SigBlk", "SigIgn":
			n, _ := strconv.ParseUint(string(value), 16, 64)
			masked |= n
		}
	}
	return pending&^masked&^housekeeping != 0
}

// stopPoll is how often a caller that got a signal is looked at again: the kernel tells of the first one only.
const stopPoll = 50 * time.Millisecond

// context ends when the caller does, or is told to stop. The function ends the watching.
func (c caller) context() (context.Context, func()) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		select {
		case <-c.cancel:
		case <-done:
			return
		}
		for !c.gone() {
			select {
			case <-time.After(stopPoll):
			case <-done:
				return
			}
		}
		stop()
	}()
	return ctx, func() { close(done); stop() }
}
