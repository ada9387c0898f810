package fusefs

import (
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// text is a file whose content is made when it is asked for. Each open captures it; a stat makes it, too, so that the
// size is true, but uses what was made less than statAge ago even if the image has changed since. While a command of
// ctl runs, a stat does not wait for its end, and shows the size of the last content.
type text struct {
	img  *image
	make func() ([]byte, error)
	// lazy: making the content may take long. A stat makes it if it took less than cheap last time, or never was made.
	lazy bool
	// fresh: the content depends on more than the image, and is made anew each time.
	fresh bool

	mu   sync.Mutex
	last []byte
	have bool
	gen  uint64
	when time.Time
	took time.Duration
}

const (
	statAge = time.Second
	cheap   = 50 * time.Millisecond
)

func (t *text) attr(a *fuse.Attr) error {
	a.Mode = syscall.S_IFREG | 0o444
	b, err := t.content(true)
	if err != nil {
		b = nil // the error shows when the file is opened
	}
	a.Size = uint64(len(b))
	a.Blocks = uint64(len(b)+511) / 512
	when := time.Unix(0, t.img.mtime.Load())
	a.SetTimes(&when, &when, &when)
	return nil
}

func (t *text) content(stat bool) ([]byte, error) {
	if stat && !t.fresh && t.img.stats.job.Load() != nil {
		if !t.mu.TryLock() {
			return nil, nil
		}
	} else {
		t.mu.Lock()
	}
	defer t.mu.Unlock()
	gen, begun := t.img.gen.Load(), time.Now()
	if stat && t.good(begun) || t.have && !t.fresh && t.gen == gen {
		return t.last, nil
	}
	b, err := t.make()
	if err != nil {
		return nil, err
	}
	t.last, t.have, t.gen, t.when, t.took = b, true, gen, time.Now(), time.Since(begun)
	return b, nil
}

// good reports whether the last content will do for a stat although the image has changed.
func (t *text) good(now time.Time) bool {
	return t.have && (now.Sub(t.when) < statAge || t.lazy && t.took > cheap) || !t.fresh && t.img.stats.job.Load() != nil
}

func (t *text) open(flags uint32) (handle, uint32, error) {
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		return nil, 0, syscall.EACCES
	}
	b, err := t.content(false)
	if err != nil {
		return nil, 0, t.img.failed("reading a description", 0, 0, err)
	}
	return bytesHandle(b), fuse.FOPEN_DIRECT_IO, nil
}

// bytesHandle is an open file whose content was captured.
type bytesHandle []byte

func (b bytesHandle) read(p []byte, off int64) (int, error) {
	if off >= int64(len(b)) {
		return 0, nil
	}
	return copy(p, b[off:]), nil
}

func (b bytesHandle) release() {}
