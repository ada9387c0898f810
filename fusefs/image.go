package fusefs

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"platter/chain"
	"platter/formats"
	"platter/formats/qerr"
)

// flushDelay is how long a write may wait in caches until it is brought to stable storage without anybody's asking.
const flushDelay = 5 * time.Second

// image is an open image and what the files that show it have in common. All writes to the guest disk go through it,
// so that every file that shows the same bytes is kept right.
type image struct {
	node     *chain.Node
	name     string // what the user mounted, in stats.json
	env      *chain.Env
	tree     *tree
	log      *errorLog
	stats    stats
	shrink   bool
	readOnly bool
	remote   bool // it lies in no file of this machine
	disk     *dataFile
	kept     *snapshots

	// control is held by what changes more than bytes of the guest disk (snapshots, bitmaps, the commands of ctl), and
	// shared by those who list such things.
	control sync.RWMutex

	opens atomic.Int32  // open data files
	mtime atomic.Int64  // nanoseconds since 1970
	gen   atomic.Uint64 // changes with every change of the image

	viewers  atomic.Pointer[[]viewer]
	viewMu   sync.Mutex
	notifier *notifier
	flusher  chan struct{}
	stopped  chan struct{}
	late     atomic.Pointer[error] // why a flush failed that nobody waited for
	ending   sync.Once
	ended    error
}

// viewer is a file whose pages the kernel may keep and that shows the guest disk from offset base on.
type viewer struct {
	file *dataFile
	base int64
}

func newImage(n *chain.Node, env *chain.Env, t *tree) *image {
	img := &image{node: n, name: n.Filename(), env: env, tree: t, log: &errorLog{}, readOnly: n.ReadOnly(),
		notifier: newNotifier(t),
		flusher:  make(chan struct{}, 1), stopped: make(chan struct{})}
	img.remote = hostPath(n) == ""
	img.mtime.Store(hostTime(n).UnixNano())
	img.disk = &dataFile{img: img, content: &view{node: n}, writable: !img.readOnly}
	img.viewers.Store(&[]viewer{{img.disk, 0}})
	img.kept = newSnapshots(img)
	go img.flushLater()
	return img
}

// hostTime is the time of the last change of the file that an image lies in; now if it lies in none.
func hostTime(n *chain.Node) time.Time {
	for f := n; f != nil; f = f.File() {
		if h, ok := formats.As[formats.HostFile](f); ok {
			fd, _ := h.FD()
			var st unix.Stat_t
			if unix.Fstat(fd, &st) == nil {
				return time.Unix(st.Mtim.Unix())
			}
		}
	}
	return time.Now()
}

// touch sets the time of the last change.
func (img *image) touch(t time.Time) { img.mtime.Store(t.UnixNano()) }

// write writes to the guest disk on behalf of a file that shows it from base on. cached says that the data comes out of
// the kernel's page cache at a time of the kernel's choice.
func (img *image) write(via *dataFile, p []byte, off int64, cached bool) (int, error) {
	for {
		room := img.node.Size() - off
		if room <= 0 {
			return 0, syscall.ENOSPC
		}
		p = p[:min(int64(len(p)), room)]
		err := img.node.WriteAt(context.Background(), p, off, 0)
		if err == nil {
			break
		}
		if img.node.Size() >= off+int64(len(p)) { // otherwise the disk was made smaller meanwhile
			return 0, img.failed("write", off, int64(len(p)), err)
		}
	}
	img.stats.writes.Add(1)
	img.stats.written.Add(uint64(len(p)))
	img.changed(via, off, int64(len(p)), cached)
	return len(p), nil
}

// zero makes a range of the guest disk read as zeroes.
func (img *image) zero(via *dataFile, off, n int64, punch bool) error {
	if n = min(n, img.node.Size()-off); n <= 0 {
		return syscall.EFBIG
	}
	var f formats.WriteFlags
	if punch {
		f = formats.MayUnmap
	}
	if err := img.node.WriteZeroes(context.Background(), off, n, f); err != nil {
		return img.failed("write of zeroes", off, n, err)
	}
	img.stats.zeroed.Add(uint64(n))
	img.changed(via, off, n, false)
	return nil
}

// changed is called when a range of the guest disk has changed through one file: the others learn of it.
func (img *image) changed(via *dataFile, off, n int64, cached bool) {
	img.gen.Add(1)
	img.mtime.Store(time.Now().UnixNano())
	select {
	case img.flusher <- struct{}{}:
	default:
	}
	for _, v := range *img.viewers.Load() {
		if v.file == via {
			continue
		}
		first, end := off-v.base, off+n-v.base
		if first, end = max(first, 0), min(end, v.file.size()); first < end {
			img.notifier.invalidate(v.file, first, end-first, cached)
		}
	}
}

// replaced is called when the whole content, or the size, may have changed.
func (img *image) replaced() {
	img.gen.Add(1)
	img.mtime.Store(time.Now().UnixNano())
	for _, f := range img.tree.nodes.files(img) {
		img.notifier.invalidate(f, 0, 0, true)
	}
}

// show adds a file to those that are told of changes.
func (img *image) show(f *dataFile, base int64) {
	img.viewMu.Lock()
	defer img.viewMu.Unlock()
	old := *img.viewers.Load()
	for _, v := range old {
		if v.file == f {
			return
		}
	}
	list := append(append([]viewer(nil), old...), viewer{f, base})
	img.viewers.Store(&list)
}

// hide takes a file out again.
func (img *image) hide(f *dataFile) {
	img.viewMu.Lock()
	defer img.viewMu.Unlock()
	var list []viewer
	for _, v := range *img.viewers.Load() {
		if v.file != f {
			list = append(list, v)
		}
	}
	img.viewers.Store(&list)
}

// flush brings everything to stable storage, and waits until the kernel has dropped what it must not show any more.
func (img *image) flush() error {
	img.notifier.wait()
	gen, bytes := img.gen.Load(), img.stats.written.Load()+img.stats.zeroed.Load()
	if err := img.node.Flush(context.Background()); err != nil {
		return img.failed("flush", 0, 0, err)
	}
	img.late.Store(nil)
	img.stats.flushes.Add(1)
	img.stats.flushed.Store(gen)
	img.stats.durable.Store(bytes)
	return nil
}

// flushLater flushes a while after a write that nobody flushed.
func (img *image) flushLater() {
	for {
		select {
		case <-img.flusher:
		case <-img.stopped:
			return
		}
		select {
		case <-time.After(flushDelay):
		case <-img.stopped:
			return
		}
		if img.gen.Load() == img.stats.flushed.Load() {
			continue
		}
		if err := img.flush(); err != nil {
			img.late.Store(&err)
		}
	}
}

// resize is truncate(2) on the guest disk.
func (img *image) resize(size int64) error {
	old := img.node.Size()
	switch {
	case size == old || size == 0:
		return nil // size 0 is what > and dd of= send; it must never wipe a disk
	case img.readOnly:
		return syscall.EROFS
	case size%512 != 0:
		return img.failed("resize", 0, size, qerr.New(syscall.EINVAL, "the size %d is not a multiple of 512", size))
	case size < old && !img.shrink:
		return img.failed("resize", 0, size, qerr.New(syscall.EPERM,
			"shrinking from %d to %d bytes loses data and needs the mount option shrink", old, size))
	}
	if err := img.node.Truncate(context.Background(), size, formats.PreallocOff); err != nil {
		return img.failed("resize", 0, size, err)
	}
	img.changed(img.disk, 0, 0, false)
	return nil
}

// failed writes the words of an error down where the caller finds them, and gives it back.
func (img *image) failed(what string, off, n int64, err error) error {
	img.stats.errors.Add(1)
	if n != 0 {
		what = fmt.Sprintf("%s at %d, %d bytes", what, off, n)
	}
	img.log.add("%s: %s", what, qerr.Text(err))
	return err
}

// tooLong reports a name that cannot be one in a directory of the image.
func (img *image) tooLong(name string) error {
	if len(name) <= maxName {
		return nil
	}
	return img.failed(fmt.Sprintf("'%.40s...'", name), 0, 0,
		qerr.New(syscall.ENAMETOOLONG, "the name has %d bytes; the most is %d", len(name), maxName))
}

// close flushes and closes the image, once.
func (img *image) close() error {
	img.ending.Do(func() { img.ended = img.shut() })
	return img.ended
}

// incomplete makes words for the user of what went wrong at the end of an image; what is why it ended.
func (img *image) incomplete(err error, what string) error {
	advice := "compare it with what should be in it before it is used again"
	if _, ok := formats.As[formats.Checker](img.node.Unwrap()); ok {
		advice = "see what 'platter check' says of it before it is used again"
	}
	return qerr.Prepend(qerr.New(qerr.Of(err), "%s (%s, and what was written to the image since the last flush that succeeded may be lost; %s)",
		qerr.Text(err), what, advice), "Could not complete '%s': ", img.name)
}

func (img *image) shut() error {
	close(img.stopped)
	err := img.flush()
	img.kept.closeAll()
	if e := img.node.Close(); err == nil {
		err = e
	}
	return err
}
