package fusefs

import (
	"sync"
)

// notifier tells the kernel to drop pages of a file because the bytes behind them changed through another file.
//
// It must not be done while the kernel waits for us with a page locked that we then wait for. Two rules keep clear of
// that: files that are windows onto another one are never cached for write(2) (FOPEN_DIRECT_IO), so that a write to
// one holds no page of it; and what the kernel writes out of its cache on its own (dirty pages of a shared mapping,
// which the kernel also writes when it is told to drop them) is passed on by a goroutine. fsync(2) and msync(2) wait
// for that goroutine, so both ways of writing are seen everywhere when the call that promises it returns.
type notifier struct {
	tree    *tree
	mu      sync.Mutex
	done    sync.Cond
	last    uint64
	pending map[uint64]struct{} // what goroutines have still to tell
}

func newNotifier(t *tree) *notifier {
	x := &notifier{tree: t, pending: map[uint64]struct{}{}}
	x.done.L = &x.mu
	return x
}

// invalidate drops n bytes at off, all from off on if n is 0, of a file that the kernel knows.
func (x *notifier) invalidate(f *dataFile, off, n int64, later bool) {
	id, ok := x.tree.nodes.known(f)
	if !ok || x.tree.kernel == nil {
		return
	}
	if !later {
		x.tree.kernel.dropPages(id, off, n)
		return
	}
	x.mu.Lock()
	x.last++
	me := x.last
	x.pending[me] = struct{}{}
	x.mu.Unlock()
	go func() {
		x.tree.kernel.dropPages(id, off, n)
		x.mu.Lock()
		delete(x.pending, me)
		x.mu.Unlock()
		x.done.Broadcast()
	}()
}

// collect makes the kernel write what processes have stored through mappings of an image's files: it writes dirty pages
// when it is told to drop them. What takes or replaces a state of the disk calls it first, so that all that was stored
// before the call is part of the state before. Nothing that a write waits for may be held. Before Linux 6.16 the kernel
// does not wait for pages that it is writing out by itself at that moment.
//
// The kernel does not say that a file is mapped. A handle lasts as long as its mappings, so one that could be mapped for
// writing is the sign; other files keep their pages.
func (x *notifier) collect(img *image) {
	found := false
	for _, f := range x.tree.nodes.files(img) {
		if f.stores.Load() > 0 {
			x.invalidate(f, 0, 0, false)
			found = true
		}
	}
	if found {
		x.wait()
	}
}

// wait returns when what was to be dropped before the call has been dropped. It keeps nobody from adding more: the
// kernel may write dirty pages out while it drops them.
func (x *notifier) wait() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for until := x.last; x.waiting(until); {
		x.done.Wait()
	}
}

func (x *notifier) waiting(until uint64) bool {
	for id := range x.pending {
		if id <= until {
			return true
		}
	}
	return false
}
