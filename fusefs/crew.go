package fusefs

import (
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// crew is how many threads serve a mount. Out of memory few serve best: each wakeup costs more than the request, who uses
// the disk needs processors, too, and one alone can poll for the next request. Where reading waits for a medium, as many
// are wanted as it may serve at once; where writes wait for each other, as those to one file do on most file systems,
// fewer.
//
// A request may wait for another one (dropping pages of one file waits for requests that hold them), so there must
// always be a thread that reads. When none has been free for a while and nothing gets done, one is added.
type crew struct {
	wanted  atomic.Int32
	threads atomic.Int32
	idle    atomic.Int32  // threads that wait for a request
	done    atomic.Uint64 // requests answered
	calm    atomic.Int32  // requests answered in a row of which none was slow
	watched atomic.Bool
	mu      sync.Mutex
	over    bool // the mount is gone; no thread is added any more
	running sync.WaitGroup
}

const (
	maxWanted  = 16
	maxThreads = 64
	stuckAfter = time.Millisecond
	slowFrom   = 50 * time.Microsecond // what takes longer may have waited for a medium
	calmAfter  = 4000                  // requests that were not slow, until the number goes back towards the usual one
	maxWindow  = 50 * time.Microsecond // a wakeup across processors takes about this long
	minWindow  = 6 * time.Microsecond
)

// usual is how many threads serve out of memory.
func usual() int32 { return int32(max(1, min(runtime.NumCPU()/2, maxWanted))) }

// serve starts the threads and returns when the tree is unmounted.
func (x *transport) serve() {
	// A thread that waits in the kernel keeps its place in the scheduler for a while.
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	x.wanted.Store(usual())
	for range usual() {
		x.add()
	}
	x.running.Wait()
	unix.Close(x.fd)
}

// add starts a thread.
func (x *transport) add() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.over {
		return
	}
	x.threads.Add(1)
	x.running.Add(1)
	go func() {
		defer x.running.Done()
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		w := x.worker(x.clone(0))
		defer w.free()
		if w.waiting != x.fd {
			if w.polled = x.clone(unix.O_NONBLOCK); w.polled == x.fd {
				w.polled = -1
			}
		}
		w.loop()
	}()
}

// loop serves until the kernel says that the mount is gone, or the thread is not needed.
func (w *worker) loop() {
	for {
		w.idle.Add(1)
		n, err := w.next()
		if w.idle.Add(-1) == 0 {
			w.watch()
		}
		switch {
		case err == nil:
		case err == syscall.EINTR, err == syscall.EAGAIN, err == syscall.ENOENT: // ENOENT: the request was given up
			continue
		default: // ENODEV: unmounted
			w.mu.Lock()
			w.over = true
			w.mu.Unlock()
			w.threads.Add(-1)
			return
		}
		w.attend(n)
		w.done.Add(1)
		if w.dismissed() {
			return
		}
	}
}

// next waits for a request. A thread that is alone polls for a moment first: while requests follow each other closely that
// saves the wakeup, and where they do not it is soon given up.
func (w *worker) next() (int, error) {
	if w.window > 0 && w.threads.Load() == 1 {
		if n, err := w.poll(time.Now().Add(w.window)); err != syscall.EAGAIN {
			return n, err
		}
	}
	w.fd = w.waiting
	began := time.Now()
	n, err := unix.Read(w.fd, w.in)
	switch {
	case w.polled < 0:
	case time.Since(began) < maxWindow:
		w.window = min(max(2*w.window, minWindow), maxWindow)
	default:
		if w.window /= 2; w.window < minWindow {
			w.window = 0
		}
	}
	return n, err
}

// poll asks for a request until a time; others that are ready to run go first.
func (w *worker) poll(until time.Time) (int, error) {
	w.fd = w.polled
	for {
		n, _, e := unix.RawSyscall(unix.SYS_READ, uintptr(w.fd), uintptr(unsafe.Pointer(&w.in[0])), uintptr(len(w.in)))
		if e == 0 {
			return int(n), nil
		}
		if e != syscall.EAGAIN || !time.Now().Before(until) {
			return 0, e
		}
		unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
	}
}

// attend handles the request in w.in[:n], and learns from it how many threads are good. Time alone does not tell, for
// the thread may have had no processor; so those that follow a slow request are looked at for whether they slept.
func (w *worker) attend(n int) {
	op := w.opcode()
	closely := w.doubts > 0 && (op == opRead || op == opWrite)
	var slept int64
	if closely {
		w.doubts--
		slept = sleeps()
	}
	began := time.Now()
	w.handle(n)
	switch slow := time.Since(began) > slowFrom; {
	case !slow:
		if w.calm.Add(1) >= calmAfter {
			w.calm.Store(0)
			w.want(usual())
		}
	case !closely:
		w.doubts = 8
	case sleeps() > slept:
		w.calm.Store(0)
		w.doubts = 8
		if op == opRead {
			w.want(maxWanted)
		} else {
			w.want(1)
		}
	}
}

// want goes a step towards a number of threads.
func (x *transport) want(n int32) {
	now := x.wanted.Load()
	switch {
	case now > n:
		x.wanted.CompareAndSwap(now, now-1)
	case now < n && x.wanted.CompareAndSwap(now, now+1) && x.threads.Load() <= now:
		x.add()
	}
}

// sleeps counts how often this thread has waited for something.
func sleeps() int64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_THREAD, &u) != nil {
		return 0
	}
	return u.Nvcsw
}

// dismissed reports whether the thread is to end, as there are more than are wanted and another one waits for requests.
func (w *worker) dismissed() bool {
	for {
		n := w.threads.Load()
		if n <= w.wanted.Load() || w.idle.Load() == 0 {
			return false
		}
		if w.threads.CompareAndSwap(n, n-1) {
			return true
		}
	}
}

// watch looks a little later whether all threads are stuck.
func (x *transport) watch() {
	if !x.watched.CompareAndSwap(false, true) {
		return
	}
	before := x.done.Load()
	time.AfterFunc(stuckAfter, func() {
		x.watched.Store(false)
		if x.idle.Load() > 0 || x.threads.Load() == 0 {
			return
		}
		if x.done.Load() == before && x.threads.Load() < maxThreads {
			x.add()
		}
		x.watch()
	})
}
