package file

import (
	"sync"

	"golang.org/x/sys/unix"

	"platter/formats"
)

// The file is seen through a few windows at a time: what was read once would count as this process's memory otherwise,
// and the tables that describe it to the processor are memory indeed.
const (
	viewSize = 64 << 20
	maxViews = 8
)

// views are the parts of a file that are mapped at present.
type views struct {
	usable bool // on this file system what is mapped is what read(2) gives
	mu     sync.Mutex
	all    [maxViews]view
	clock  uint64
}

type view struct {
	mem   []byte
	off   int64
	users int
	used  uint64
}

// coherent reports whether a shared mapping shows at once what write(2) changes: so it is where both use the same page
// cache, which is not said of file systems on other machines, in user space, or with a cache of their own. tmpfs is left
// out: to look at a hole through a mapping allocates it there.
func coherent(fd int) bool {
	var st unix.Statfs_t
	if unix.Fstatfs(fd, &st) != nil {
		return false
	}
	switch st.Type {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC:
		return true
	}
	return false
}

// Lend lends mapped pages of the file.
func (f *image) Lend(off, n int64, l *formats.Loan) bool {
	if !f.views.usable || off+n > f.size.Load() {
		return false
	}
	for n > 0 {
		start := off / viewSize * viewSize
		k := min(n, start+viewSize-off)
		slot := f.views.hold(f.fd, start, l, f)
		if slot < 0 || !l.Add(f.views.all[slot].mem[off-start:off-start+k]) {
			return false
		}
		off, n = off+k, n-k
	}
	return true
}

// Return says that a view is no longer used by a loan.
func (f *image) Return(slot uint64) {
	f.views.mu.Lock()
	defer f.views.mu.Unlock()
	f.views.all[slot].users--
}

// hold finds the view that begins at off, or maps it in the place of one that nobody uses, and holds it for the loan;
// -1 if there is no such place.
func (v *views) hold(fd int, off int64, l *formats.Loan, owner *image) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.clock++
	slot := -1
	for k := range v.all {
		w := &v.all[k]
		if w.mem != nil && w.off == off {
			w.used = v.clock
			if !l.Held(owner, uint64(k)) {
				w.users++
				l.Hold(owner, uint64(k))
			}
			return k
		}
		if w.users == 0 && (slot < 0 || w.used < v.all[slot].used) {
			slot = k
		}
	}
	if slot < 0 {
		return -1
	}
	w := &v.all[slot]
	if w.mem != nil {
		_ = unix.Munmap(w.mem)
		*w = view{}
	}
	mem, err := unix.Mmap(fd, off, viewSize, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return -1
	}
	*w = view{mem: mem, off: off, users: 1, used: v.clock}
	l.Hold(owner, uint64(slot))
	return slot
}

// unmap gives all views up. No loan is out any more.
func (v *views) unmap() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for k := range v.all {
		if v.all[k].mem != nil {
			_ = unix.Munmap(v.all[k].mem)
			v.all[k] = view{}
		}
	}
	v.usable = false
}
