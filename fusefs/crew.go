package fusefs

import (
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// crew is how many threads serve a mount. Out of memory few serve best: each wakeup costs more than the request, who uses
// the disk needs processors, too, and one alone can poll for the next request. Where others wait while a request waits for
// a medium, as many are wanted as it may serve at once; where they wait for what has to be computed, as many as there are
// processors; where writes wait for each other, as those to one file of this machine do on most file systems, fewer.
//
// A request may wait for another one (dropping pages of one file waits for requests that hold them), so there must
// always be a thread that reads. When none has been free for a while and nothing gets done, one is added.
type crew struct {
	wanted  atomic.Int32
	threads atomic.Int32
	idle    atomic.Int32  // threads that wait for a request
	done    atomic.Uint64 // requests answered
	calm    atomic.Int32  // requests answered in a row of which none was slow
	alone   atomic.Int32  // slow requests in a row during which no other one came
	watched atomic.Bool
	mu      sync.Mutex
	over    bool // the mount is gone; no thread is added any more
	running sync.WaitGroup
}

const (
	maxWanted  = 16
	maxThreads = 64
	stuckAfter = 5 * time.Millisecond
	slowFrom   = 50 * time.Microsecond // what takes longer may have waited for a medium
	calmAfter  = 4000                  // requests that were not slow, until the number goes back towards the usual one
	aloneAfter = 64                    // such requests, until a second thread is not worth its wakeups
	small      = 64 << 10              // more is asked for ahead, so that others are on their way; and copying it takes long
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
// the thread may have had no processor; so those that follow a slow request are looked at for what they did meanwhile.
func (w *worker) attend(n int) {
	op := w.opcode()
	var before effort
	if w.closely = w.doubts > 0 && (op == opRead || op == opWrite); w.closely {
		w.doubts--
		before = efforts()
	}
	w.began, w.pressed = time.Now(), false
	w.handle(n)
	took := time.Since(w.began)
	switch {
	case took <= slowFrom+w.copying(op, n):
		if w.calm.Add(1) >= calmAfter {
			w.calm.Store(0)
			w.want(usual())
		}
	case !w.closely:
		w.doubts = 8
	case efforts().slept(before, took):
		w.calm.Store(0)
		w.doubts = 8
		switch {
		case op == opRead && (*fuse.ReadIn)(unsafe.Pointer(&w.in[0])).Size >= small:
			w.want(maxWanted)
		case op == opRead || w.parallel((*fuse.WriteIn)(unsafe.Pointer(&w.in[0])).Fh):
			w.share(w.pressed, maxWanted)
		default:
			w.want(1)
		}
	case op == opRead && (*fuse.ReadIn)(unsafe.Pointer(&w.in[0])).Size < small:
		w.share(w.pressed, min(int32(runtime.NumCPU()), maxWanted))
	}
}

// parallel reports whether what lies below an open file takes several writes at once.
func (w *worker) parallel(fh uint64) bool {
	h, ok := w.tree.handles.get(fh).(*dataHandle)
	return ok && h.f.img.remote
}

// copying is how long the data of the request in w.in[:n] may take without waiting for anything: 2 GB/s.
func (w *worker) copying(op uint32, n int) time.Duration {
	if op == opRead {
		n = int((*fuse.ReadIn)(unsafe.Pointer(&w.in[0])).Size)
	}
	return time.Duration(n) / 2
}

// look finds out, where it may matter, whether another request waits. It is called before the answer to this one: whoever
// gets that may ask the next thing at once.
func (w *worker) look() {
	if w.closely && time.Since(w.began) > slowFrom {
		fds := [1]unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds[:], 0)
		w.pressed = err == nil && n > 0
	}
}

// share is told of a slow request whether another one waited meanwhile. If so the work is shared by up to most threads;
// if none of the others had anything to do either, again and again, they go.
func (x *transport) share(waited bool, most int32) {
	switch {
	case waited:
		x.alone.Store(0)
		if x.wanted.Load() < most {
			x.want(most)
		}
	case x.threads.Load()-x.idle.Load() > 1:
		x.alone.Store(0)
	case x.alone.Add(1) >= aloneAfter:
		x.alone.Store(0)
		x.want(usual())
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

// effort is what has been done so far: how often this thread has waited for something, and how long it and all threads
// of the process have computed.
type effort struct {
	waits    int64
	own, all time.Duration
}

func efforts() (e effort) {
	var u unix.Rusage
	var own, all unix.Timespec
	if unix.Getrusage(unix.RUSAGE_THREAD, &u) == nil && unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &own) == nil &&
		unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &all) == nil {
		e = effort{u.Nvcsw, time.Duration(own.Nano()), time.Duration(all.Nano())}
	}
	return e
}

// slept reports whether most of the time since before went by in waiting, and that was not for processors which other
// threads had, as where several decompress.
func (e effort) slept(before effort, took time.Duration) bool {
	return e.waits > before.waits && e.own-before.own < took/2 && e.all-before.all < took*time.Duration(runtime.NumCPU())/2
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
