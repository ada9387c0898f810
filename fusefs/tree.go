package fusefs

import (
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"platter/formats/qerr"
)

// tree answers the kernel: it finds the node or handle that a request is for, and translates errors to errno. It is
// close to the wire, because nothing may be allocated for a read or write.
type tree struct {
	fuse.RawFileSystem // answers ENOSYS to what the tree does not have
	nodes              *table
	handles            handles
	owner              fuse.Owner
	umask              uint32
	readOnly           bool
	born               time.Time
	space              func(*fuse.StatfsOut)
	kernel             *transport // nil before the mount
}

// forever is how long the kernel keeps what changes only by its own doing or with a notification.
const forever = 24 * time.Hour

func newTree(root node) *tree {
	return &tree{RawFileSystem: fuse.NewDefaultRawFileSystem(), nodes: newTable(root), born: time.Now(),
		space: func(*fuse.StatfsOut) {}}
}

// String is the name of the file system type.
func (t *tree) String() string { return "platter" }

// status translates an error to what the kernel understands.
func status(err error) fuse.Status { return fuse.Status(qerr.Of(err)) }

func (t *tree) fill(n node, id uint64, a *fuse.Attr) error {
	a.Owner, a.Nlink, a.Blksize, a.Ino = t.owner, 1, 4096, id
	a.SetTimes(&t.born, &t.born, &t.born)
	if err := n.attr(a); err != nil {
		return err
	}
	if a.Mode&syscall.S_IFMT != syscall.S_IFLNK {
		if t.readOnly {
			a.Mode &^= 0o222
		}
		a.Mode &^= t.umask
	}
	return nil
}

// lasting is how long attributes are good: those of data files change only with notifications.
func lasting(n node) time.Duration {
	switch x := n.(type) {
	case *dataFile:
		if x.live {
			return 0
		}
		return forever
	case directory:
		if !x.fixed() {
			return 0
		}
		return forever
	case symlink:
		return forever
	}
	return 0
}

// Lookup finds an entry of a directory.
func (t *tree) Lookup(_ <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	dir, err := t.directory(h.NodeId)
	if err != nil {
		return status(err)
	}
	return t.enter(dir, name, out)
}

func (t *tree) directory(id uint64) (directory, error) {
	n, err := t.nodes.get(id)
	if err != nil {
		return nil, err
	}
	d, ok := n.(directory)
	if !ok {
		return nil, syscall.ENOTDIR
	}
	return d, nil
}

func (t *tree) enter(dir directory, name string, out *fuse.EntryOut) fuse.Status {
	if _, ok := dir.(editable); !ok && len(name) > maxName { // those have words for it
		return fuse.Status(syscall.ENAMETOOLONG)
	}
	n, err := dir.child(name)
	if err != nil {
		return status(err)
	}
	c, isControl := n.(*control)
	if isControl {
		n = c.again()
	}
	id := t.nodes.look(n)
	if isControl {
		t.nodes.drop(n) // as soon as the kernel forgets it
	}
	if err := t.fill(n, id, &out.Attr); err != nil {
		t.nodes.forget(id, 1)
		return status(err)
	}
	out.NodeId, out.Generation = id, 1
	if dir.fixed() && !isControl {
		out.SetEntryTimeout(forever)
	}
	out.SetAttrTimeout(lasting(n))
	return fuse.OK
}

// Forget takes back lookups.
func (t *tree) Forget(id, n uint64) { t.nodes.forget(id, n) }

// GetAttr is stat(2).
func (t *tree) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	n, err := t.nodes.get(in.NodeId)
	if err == nil {
		err = t.fill(n, in.NodeId, &out.Attr)
		out.SetTimeout(lasting(n))
	}
	return status(err)
}

// SetAttr is truncate(2), utimensat(2), chmod(2) and chown(2); the last two are refused unless nothing changes.
func (t *tree) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	n, err := t.nodes.get(in.NodeId)
	if err != nil {
		return status(err)
	}
	var now fuse.Attr
	if err := t.fill(n, in.NodeId, &now); err != nil {
		return status(err)
	}
	uid, setUID := in.GetUID()
	gid, setGID := in.GetGID()
	mode, setMode := in.GetMode()
	if setUID && uid != now.Uid || setGID && gid != now.Gid || setMode && mode&0o7777 != now.Mode&0o7777 {
		return fuse.EPERM
	}
	if size, ok := in.GetSize(); ok {
		s, ok := n.(sizer)
		if !ok {
			return fuse.EINVAL
		}
		if err := s.truncate(int64(size)); err != nil {
			return status(err)
		}
	}
	if m, ok := in.GetMTime(); ok {
		if d, ok := n.(*dataFile); ok {
			d.img.touch(m)
		}
	}
	err = t.fill(n, in.NodeId, &out.Attr)
	out.SetTimeout(lasting(n))
	return status(err)
}

// Readlink gives the target of a symbolic link.
func (t *tree) Readlink(_ <-chan struct{}, h *fuse.InHeader) ([]byte, fuse.Status) {
	n, err := t.nodes.get(h.NodeId)
	if err != nil {
		return nil, status(err)
	}
	l, ok := n.(symlink)
	if !ok {
		return nil, fuse.EINVAL
	}
	return []byte(l.target()), fuse.OK
}

// Mkdir makes a snapshot or a bitmap.
func (t *tree) Mkdir(cancel <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	dir, ok := t.editable(in.NodeId)
	if !ok {
		return t.refused(in.NodeId, "making directory", name)
	}
	ctx, stop := caller{cancel, in.Pid}.context()
	defer stop()
	if err := dir.mkdir(ctx, name); err != nil {
		return status(err)
	}
	return t.enter(dir, name, out)
}

// Rmdir removes a snapshot or a bitmap.
func (t *tree) Rmdir(cancel <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	dir, ok := t.editable(h.NodeId)
	if !ok {
		return t.refused(h.NodeId, "removing", name)
	}
	ctx, stop := caller{cancel, h.Pid}.context()
	defer stop()
	return status(dir.rmdir(ctx, name))
}

const noReplace = 1 // RENAME_NOREPLACE of renameat2(2)

// Rename renames a snapshot or a bitmap in its directory. The answer to anything else must not be EXDEV: mv(1) would go
// on with mkdir(2), and make a snapshot or a bitmap of that name.
func (t *tree) Rename(cancel <-chan struct{}, in *fuse.RenameIn, from, to string) fuse.Status {
	dir, ok := t.editable(in.NodeId)
	switch {
	case !ok || in.NodeId != in.Newdir:
		return t.refused(in.NodeId, "moving", from)
	case in.Flags&^noReplace != 0: // that nothing is replaced is the rule here anyway
		return t.say(in.NodeId, "renaming", from, qerr.New(syscall.EINVAL,
			"it cannot be exchanged with another: rename the other one first"))
	}
	ctx, stop := caller{cancel, in.Pid}.context()
	defer stop()
	return status(dir.rename(ctx, from, to))
}

func (t *tree) editable(id uint64) (editable, bool) {
	n, err := t.nodes.get(id)
	d, ok := n.(editable)
	return d, err == nil && ok && !t.readOnly
}

// errFixed is why entries are not made, moved or removed.
var errFixed = qerr.New(syscall.EPERM, "the files of the tree are what the image has: "+
	"use mkdir, rmdir or mv on a directory of snapshots or bitmaps, where it is")

// refused is the answer to calls that would change what the tree consists of.
func (t *tree) refused(dir uint64, what, name string) fuse.Status {
	if t.readOnly {
		return fuse.EROFS
	}
	return t.say(dir, what, name, errFixed)
}

// say gives an error for something in a directory, with the words in the log of the directory's image.
func (t *tree) say(dir uint64, what, name string, err error) fuse.Status {
	n, e := t.nodes.get(dir)
	if e != nil {
		return status(e)
	}
	if o, ok := n.(ofImage); ok {
		if img := o.image(); img != nil {
			_ = img.failed(what+" '"+brief(name)+"'", 0, 0, err)
		}
	}
	return status(err)
}

// Create, Mknod, Symlink, Link and Unlink are refused: the files of the tree are what the image has.
func (t *tree) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, _ *fuse.CreateOut) fuse.Status {
	return t.refused(in.NodeId, "making", name)
}

// Mknod is refused.
func (t *tree) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, _ *fuse.EntryOut) fuse.Status {
	return t.refused(in.NodeId, "making", name)
}

// Symlink is refused.
func (t *tree) Symlink(_ <-chan struct{}, h *fuse.InHeader, _, name string, _ *fuse.EntryOut) fuse.Status {
	return t.refused(h.NodeId, "making link", name)
}

// Link is refused.
func (t *tree) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, _ *fuse.EntryOut) fuse.Status {
	return t.refused(in.NodeId, "making link", name)
}

// Unlink is refused.
func (t *tree) Unlink(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return t.refused(h.NodeId, "removing", name)
}

// StatFs describes the host file system below the images, in units of 4 KiB: loop devices take the unit as their
// discard granularity, so it is never 0.
func (t *tree) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	out.Bsize, out.Frsize, out.NameLen = 4096, 4096, 255
	t.space(out)
	return fuse.OK
}
