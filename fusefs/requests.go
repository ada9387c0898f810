package fusefs

import (
	"bytes"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Open opens a file.
func (t *tree) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	n, err := t.nodes.get(in.NodeId)
	if err != nil {
		return status(err)
	}
	f, ok := n.(file)
	if !ok {
		return fuse.EINVAL
	}
	if t.readOnly && in.Flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		return fuse.EROFS
	}
	h, flags, err := f.open(in.Flags)
	if err != nil {
		return status(err)
	}
	out.Fh, out.OpenFlags = t.handles.add(h), flags
	if d, ok := h.(*dataHandle); ok {
		out.BackingID = d.backing
	}
	return fuse.OK
}

// Release closes a handle for good.
func (t *tree) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	if h := t.handles.remove(in.Fh); h != nil {
		h.release()
	}
}

// readInto reads from an open file into the buffer of the reply.
func (t *tree) readInto(in *fuse.ReadIn, p []byte) (int, fuse.Status) {
	h := t.handles.get(in.Fh)
	if h == nil {
		return 0, fuse.EBADF
	}
	if int64(in.Offset) < 0 {
		return 0, fuse.EINVAL
	}
	n, err := h.read(p, int64(in.Offset))
	if err != nil {
		return 0, status(err)
	}
	return n, fuse.OK
}

// writeFrom writes to an open file.
func (t *tree) writeFrom(in *fuse.WriteIn, p []byte) (int, fuse.Status) {
	w, ok := t.handles.get(in.Fh).(writer)
	if !ok {
		return 0, fuse.EBADF
	}
	if int64(in.Offset) < 0 {
		return 0, fuse.EINVAL
	}
	n, err := w.write(p, int64(in.Offset), in.WriteFlags&fuse.WRITE_CACHE != 0)
	if err == nil && in.Flags&syscall.O_DSYNC != 0 {
		if s, ok := w.(syncer); ok {
			err = s.sync()
		}
	}
	return n, status(err)
}

// Writev takes commands. Other writes do not come here, but commands can be interrupted.
func (t *tree) Writev(cancel <-chan struct{}, in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	c, ok := t.handles.get(in.Fh).(commander)
	if !ok {
		return 0, fuse.EBADF
	}
	batch := bytes.Join(data, nil)
	return uint32(len(batch)), status(c.command(caller{cancel, in.Pid}, string(batch)))
}

// commands reports whether what is written to an open file are commands.
func (t *tree) commands(fh uint64) bool {
	_, ok := t.handles.get(fh).(commander)
	return ok
}

// Fsync is fsync(2) and fdatasync(2).
func (t *tree) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	if s, ok := t.handles.get(in.Fh).(syncer); ok {
		return status(s.sync())
	}
	return fuse.OK
}

// Flush is sent for every close(2).
func (t *tree) Flush(_ <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	if f, ok := t.handles.get(in.Fh).(flusher); ok {
		return status(f.flush())
	}
	return fuse.OK
}

// Whence of lseek(2); the kernel does the others.
const seekData, seekHole = 3, 4

// seekAt is lseek(2) where the answer is near; ok is false where the search is long and must be possible to interrupt.
func (t *tree) seekAt(in *fuse.LseekIn) (at int64, st fuse.Status, ok bool) {
	h, is := t.handles.get(in.Fh).(*dataHandle)
	if !is || in.Whence != seekData && in.Whence != seekHole || int64(in.Offset) < 0 {
		return 0, 0, false
	}
	at, done, err := h.seekSome(int64(in.Offset), in.Whence == seekData)
	return at, status(err), done
}

// Lseek is lseek(2) with SEEK_DATA and SEEK_HOLE.
func (t *tree) Lseek(cancel <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	s, ok := t.handles.get(in.Fh).(seeker)
	if !ok || in.Whence != seekData && in.Whence != seekHole {
		return fuse.EINVAL
	}
	if int64(in.Offset) < 0 {
		return fuse.Status(syscall.ENXIO)
	}
	at, err := s.seek(caller{cancel, in.Pid}, int64(in.Offset), in.Whence == seekData)
	out.Offset = uint64(at)
	return status(err)
}

// Modes of fallocate(2).
const (
	fallocKeepSize  = 0x01
	fallocPunchHole = 0x02
	fallocZeroRange = 0x10
)

// Fallocate punches holes, writes zeroes and reserves space.
func (t *tree) Fallocate(cancel <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	a, ok := t.handles.get(in.Fh).(allocator)
	if !ok {
		return fuse.EBADF
	}
	off, n := int64(in.Offset), int64(in.Length)
	if off < 0 || n <= 0 || off+n < 0 {
		return fuse.EINVAL
	}
	switch in.Mode {
	case 0, fallocKeepSize:
		return status(a.reserve(caller{cancel, in.Pid}, off, n, in.Mode != 0))
	case fallocPunchHole | fallocKeepSize:
		return status(a.zero(off, n, true))
	case fallocZeroRange | fallocKeepSize:
		return status(a.zero(off, n, false))
	case fallocZeroRange:
		return status(a.zeroLonger(caller{cancel, in.Pid}, off, n))
	}
	return fuse.Status(syscall.EOPNOTSUPP)
}

// openDir is an open directory: the list as it was when it was read from the beginning.
type openDir struct {
	dir  directory
	mu   sync.Mutex
	list []entry
}

func (d *openDir) read([]byte, int64) (int, error) { return 0, syscall.EISDIR }
func (d *openDir) release()                        {}

// OpenDir opens a directory.
func (t *tree) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	dir, err := t.directory(in.NodeId)
	if err != nil {
		return status(err)
	}
	out.Fh = t.handles.add(&openDir{dir: dir})
	if dir.fixed() {
		out.OpenFlags = fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_CACHE_DIR
	}
	return fuse.OK
}

// ReadDir lists a directory.
func (t *tree) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	d, ok := t.handles.get(in.Fh).(*openDir)
	if !ok {
		return fuse.EBADF
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if in.Offset == 0 || d.list == nil {
		list, err := d.dir.entries()
		if err != nil {
			return status(err)
		}
		d.list = append([]entry{{".", syscall.S_IFDIR}, {"..", syscall.S_IFDIR}}, list...)
	}
	for i := in.Offset; i < uint64(len(d.list)); i++ {
		e := d.list[i]
		if !out.AddDirEntry(fuse.DirEntry{Name: e.name, Mode: e.kind, Off: i + 1}) {
			break
		}
	}
	return fuse.OK
}

// ReleaseDir closes a directory.
func (t *tree) ReleaseDir(in *fuse.ReleaseIn) { t.handles.remove(in.Fh) }

// FsyncDir has nothing to do: what a directory shows is in the image when the call that made it returns.
func (t *tree) FsyncDir(<-chan struct{}, *fuse.FsyncIn) fuse.Status { return fuse.OK }
