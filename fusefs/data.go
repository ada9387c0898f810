package fusefs

import (
	"context"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"platter/chain"
	"platter/formats"
	"platter/formats/qerr"
)

// preferredIO is the st_blksize of data files: tools size their buffers by it.
const preferredIO = 256 << 10

// content is what a data file shows. Ranges lie within size.
type content interface {
	size() int64
	readAt(p []byte, off int64) error
	// run describes the beginning of a range: how long it is of one kind, and whether that is data or a hole.
	run(off, n int64) (length int64, data bool, err error)
	// allocated is the space that the content takes, in bytes.
	allocated() int64
}

// lending is a content that may show where its bytes lie in memory (see formats.Lender).
type lending interface {
	lend(off, n int64, l *formats.Loan) bool
}

// dataFile is a file that shows a disk, or a part of one. disk.raw is one; so are partitions, layers, snapshots.
type dataFile struct {
	img *image
	content
	base     int64     // where the file begins in the guest disk
	writable bool      // writes go to the guest disk at base
	window   bool      // part of another file: not cached, so that both agree (see notifier)
	live     bool      // changes without the kernel's or our telling; nothing is cached
	taken    time.Time // when the content became what it will always be; zero if it may change
	tags     map[string]string
	opens    atomic.Int32
	stores   atomic.Int32 // handles through which a mapping can be stored to
	direct   passthrough
	space    atomic.Int64 // what it took when it was last asked for, in bytes
}

func (f *dataFile) attr(a *fuse.Attr) error {
	a.Mode = syscall.S_IFREG | 0o400
	if f.writable {
		a.Mode |= 0o200
	}
	a.Size = uint64(f.size())
	// A command of ctl may have the image for itself for long; a stat does not wait for it.
	if f.img.stats.job.Load() == nil {
		f.space.Store(min(f.allocated(), (f.size()+511)/512*512))
	}
	a.Blocks = uint64(f.space.Load()+511) / 512
	a.Blksize = preferredIO
	t := time.Unix(0, f.img.mtime.Load())
	if !f.taken.IsZero() {
		t = f.taken
	}
	a.SetTimes(&t, &t, &t)
	return nil
}

func (f *dataFile) xattrs() map[string]string { return f.tags }

// Flags of open(2) replies beyond those that the kernel calls FOPEN_DIRECT_IO and FOPEN_KEEP_CACHE.
const directWrites = fuse.FOPEN_DIRECT_IO | fuse.FOPEN_PARALLEL_DIRECT_WRITES

func (f *dataFile) open(flags uint32) (handle, uint32, error) {
	mode := flags & syscall.O_ACCMODE
	if mode != syscall.O_RDONLY && !f.writable {
		return nil, 0, syscall.EROFS
	}
	h := &dataHandle{f: f, content: f.content}
	if c, ok := f.content.(captured); ok {
		var err error
		if h.content, err = c.capture(); err != nil {
			return nil, 0, f.img.failed("opening", f.base, f.size(), err)
		}
	}
	if h.stores = mode == syscall.O_RDWR; h.stores {
		f.stores.Add(1)
	}
	f.img.opens.Add(1)
	if f.opens.Add(1) == 1 && f.window {
		f.img.show(f, f.base)
	}
	if h.backing = f.direct.enter(f); h.backing != 0 {
		if flags&syscall.O_DIRECT != 0 {
			return h, fuse.FOPEN_PASSTHROUGH | fuse.FOPEN_DIRECT_IO, nil
		}
		return h, fuse.FOPEN_PASSTHROUGH, nil
	}
	switch {
	case f.window || f.live:
		return h, directWrites, nil
	case mode == syscall.O_WRONLY, flags&syscall.O_DIRECT != 0:
		// Large writes go straight to us; the kernel keeps the pages of other descriptors right. Who says O_DIRECT gets
		// nothing else anyway, but only so the kernel lets several writes through at once.
		return h, directWrites | fuse.FOPEN_KEEP_CACHE, nil
	}
	return h, fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_PARALLEL_DIRECT_WRITES, nil
}

func (f *dataFile) truncate(size int64) error {
	if size == 0 {
		return nil
	}
	if f != f.img.disk {
		if size == f.size() {
			return nil
		}
		return syscall.EPERM
	}
	return f.img.resize(size)
}

// captured is a content that is fixed when the file is opened, or that must be made ready then.
type captured interface{ capture() (content, error) }

// dataHandle is an open data file.
type dataHandle struct {
	content
	f       *dataFile
	backing int32 // number of the file that the kernel reads in our place, 0: none
	stores  bool  // opened for reading and writing, which a mapping that can be stored to needs
}

func (h *dataHandle) release() {
	if h.backing != 0 {
		h.f.direct.leave(h.f)
	}
	if h.stores {
		h.f.stores.Add(-1)
	}
	h.f.img.opens.Add(-1)
	if h.f.opens.Add(-1) == 0 && h.f.window {
		h.f.img.hide(h.f)
	}
}

func (h *dataHandle) read(p []byte, off int64) (int, error) {
	for {
		size := h.size()
		if off >= size {
			return 0, nil
		}
		p = p[:min(int64(len(p)), size-off)]
		err := h.readAt(p, off)
		if err == nil {
			break
		}
		if h.size() >= off+int64(len(p)) { // otherwise the disk was made smaller meanwhile
			return 0, h.f.img.failed("read", h.f.base+off, int64(len(p)), err)
		}
	}
	h.f.img.stats.reads.Add(1)
	h.f.img.stats.read.Add(uint64(len(p)))
	return len(p), nil
}

// lend is read without a copy: n is how much is lent, up to the end of the file; ok is false where it must be read.
func (h *dataHandle) lend(size int, off int64, l *formats.Loan) (n int, ok bool) {
	c, ok := h.content.(lending)
	end := h.size()
	if !ok || off >= end {
		return 0, false
	}
	n = int(min(int64(size), end-off))
	if !c.lend(off, int64(n), l) {
		return 0, false
	}
	h.f.img.stats.reads.Add(1)
	h.f.img.stats.read.Add(uint64(n))
	return n, true
}

// lost is told that what was lent could not be used: memory that a file of this machine had is not there any more.
func (h *dataHandle) lost(off int64, n int, err error) {
	_ = h.f.img.failed("read", h.f.base+off, int64(n), err)
}

func (h *dataHandle) write(p []byte, off int64, cached bool) (int, error) {
	room := h.size() - off
	if !h.f.writable {
		return 0, syscall.EBADF
	}
	if room <= 0 {
		return 0, syscall.ENOSPC
	}
	return h.f.img.write(h.f, p[:min(int64(len(p)), room)], h.f.base+off, cached)
}

func (h *dataHandle) zero(off, n int64, punch bool) error {
	if !h.f.writable {
		return syscall.EBADF
	}
	if end := h.size(); off >= end {
		return h.f.img.failed("write of zeroes", off, n, qerr.New(syscall.EFBIG, "the file ends at %d", end))
	}
	return h.f.img.zero(h.f, h.f.base+off, min(n, h.size()-off), punch)
}

func (h *dataHandle) sync() error {
	if !h.f.writable {
		return nil
	}
	return h.f.img.flush()
}

// flush reports at close(2) what a flush in the background met. It does not flush by itself, as on other file systems.
func (h *dataHandle) flush() error {
	if err := h.f.img.late.Load(); err != nil && h.f.writable {
		return *err
	}
	return nil
}

// seek walks the runs from off on until one is of the kind that is looked for.
func (h *dataHandle) seek(by caller, off int64, data bool) (int64, error) {
	for {
		at, done, err := h.seekSome(off, data)
		if done {
			return at, err
		}
		if off = at; by.gone() {
			return 0, syscall.EINTR
		}
	}
}

// seekSome walks no more than some runs; done is false where it has to be called again, with what it returned.
func (h *dataHandle) seekSome(off int64, data bool) (at int64, done bool, err error) {
	const most = 64
	size := h.size()
	if off >= size {
		return 0, true, syscall.ENXIO
	}
	for k := 0; off < size; k++ {
		if k == most {
			return off, false, nil
		}
		n, is, err := h.run(off, size-off)
		if err != nil {
			return 0, true, h.f.img.failed("looking for holes", h.f.base+off, size-off, err)
		}
		if is == data {
			return off, true, nil
		}
		if n <= 0 {
			return 0, true, syscall.EIO
		}
		off += n
	}
	if data {
		return 0, true, syscall.ENXIO
	}
	return size, true, nil
}

// view is the guest disk as seen from a node of the chain.
type view struct{ node *chain.Node }

func (v *view) size() int64 { return v.node.Size() }

func (v *view) readAt(p []byte, off int64) error {
	return v.node.ReadAt(context.Background(), p, off)
}

func (v *view) lend(off, n int64, l *formats.Loan) bool { return v.node.Lend(off, n, l) }

func (v *view) run(off, n int64) (int64, bool, error) {
	l, err := v.node.StatusAbove(context.Background(), nil, off, n)
	return l.Len, l.State.Has(formats.Data) && !l.State.Has(formats.Zero), err
}

// allocated adds up the layers: what a lower one holds may be hidden by a higher one, so it is an upper bound.
func (v *view) allocated() int64 {
	var sum int64
	for n := v.node; n != nil; n = n.Below() {
		sum += allocatedIn(n)
	}
	return sum
}

func allocatedIn(n *chain.Node) int64 {
	if n.Filtered() != nil {
		return 0
	}
	size, err := n.AllocatedSize(context.Background())
	if qerr.Of(err) != 0 {
		return n.Size()
	}
	return size
}

// window is a part of another content.
type window struct {
	of     content
	off, n int64
}

func (w *window) size() int64 { return w.n }

func (w *window) readAt(p []byte, off int64) error {
	end := w.of.size()
	if keep := end - (w.off + off); keep < int64(len(p)) { // the table names more than there is
		clear(p[max(keep, 0):])
		if keep <= 0 {
			return nil
		}
		p = p[:keep]
	}
	return w.of.readAt(p, w.off+off)
}

func (w *window) lend(off, n int64, l *formats.Loan) bool {
	c, ok := w.of.(lending)
	return ok && w.off+off+n <= w.of.size() && c.lend(w.off+off, n, l)
}

func (w *window) run(off, n int64) (int64, bool, error) {
	if n = min(n, w.of.size()-w.off-off); n <= 0 {
		return w.n - off, false, nil
	}
	return w.of.run(w.off+off, n)
}

// allocated counts the runs of data; a window with too many of them is taken for full.
func (w *window) allocated() int64 {
	const most = 4096
	var sum int64
	off := int64(0)
	for i := 0; off < w.n; i++ {
		n, data, err := w.run(off, w.n-off)
		if err != nil || n <= 0 || i == most {
			return sum + w.n - off
		}
		if data {
			sum += n
		}
		off += n
	}
	return sum
}
