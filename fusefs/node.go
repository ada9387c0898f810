package fusefs

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// node is a file, directory or symbolic link of the tree. Methods may be called concurrently.
type node interface {
	// attr fills in everything but inode number, owner and permission mask, which the tree knows.
	attr(a *fuse.Attr) error
}

// directory is a node with entries.
type directory interface {
	node
	// child finds an entry; ENOENT if there is none.
	child(name string) (node, error)
	// entries lists the names with their types (S_IFREG, S_IFDIR, S_IFLNK).
	entries() ([]entry, error)
	// fixed reports whether the entries never change, so that the kernel may keep them.
	fixed() bool
}

type entry struct {
	name string
	kind uint32
}

// ofImage is a directory that belongs to one image.
type ofImage interface {
	image() *image // nil if that is not open
}

// editable is a directory in which entries can be made, removed and renamed.
type editable interface {
	directory
	mkdir(ctx context.Context, name string) error
	rmdir(ctx context.Context, name string) error
	rename(ctx context.Context, from, to string) error
}

// symlink is a symbolic link.
type symlink interface {
	node
	target() string
}

// file is a node that can be opened. flags are those of open(2).
type file interface {
	node
	// open gives the handle and the FOPEN_ flags for the kernel.
	open(flags uint32) (handle, uint32, error)
}

// sizer is a file whose size can be set (truncate(2)).
type sizer interface {
	truncate(size int64) error
}

// tagged is a node with extended attributes of its own.
type tagged interface {
	xattrs() map[string]string
}

// handle is an open file. It is released once, when no call is in progress.
type handle interface {
	// read fills p and says how much there was; less than len(p) is the end of the file.
	read(p []byte, off int64) (int, error)
	release()
}

// Further abilities of handles; without one the call fails with EBADF, EOPNOTSUPP or EINVAL as POSIX has it.
type (
	writer interface {
		write(p []byte, off int64, cached bool) (int, error)
	}
	// commander takes what is written as commands.
	commander interface {
		command(by caller, batch string) error
	}
	syncer interface {
		sync() error
	}
	// flusher is told of every close(2) of a descriptor, and can report an error there.
	flusher interface {
		flush() error
	}
	seeker interface {
		// seek finds the next data, or the next hole, at or after off.
		seek(by caller, off int64, data bool) (int64, error)
	}
	allocator interface {
		// zero makes a range read as zeroes; punch allows to give up its storage.
		zero(off, n int64, punch bool) error
		// zeroLonger is zero that makes the disk longer where the range ends behind it.
		zeroLonger(by caller, off, n int64) error
		// reserve takes the space that a range needs; it makes the disk longer unless keepSize.
		reserve(by caller, off, n int64, keepSize bool) error
	}
)

// static is a directory whose entries are known when it is made.
type static struct {
	names []string
	nodes map[string]node
	owner *image // nil: none
}

func newStatic(owner *image) *static { return &static{nodes: map[string]node{}, owner: owner} }

func (d *static) image() *image { return d.owner }

func (d *static) add(name string, n node) {
	d.names = append(d.names, name)
	d.nodes[name] = n
}

func (d *static) attr(a *fuse.Attr) error {
	a.Mode = syscall.S_IFDIR | 0o755
	a.Nlink = 2
	return nil
}

func (d *static) child(name string) (node, error) {
	if n, ok := d.nodes[name]; ok {
		return n, nil
	}
	return nil, syscall.ENOENT
}

func (d *static) entries() ([]entry, error) {
	var list []entry
	for _, name := range d.names {
		list = append(list, entry{name, kindOf(d.nodes[name])})
	}
	return list, nil
}

func (d *static) fixed() bool { return true }

func kindOf(n node) uint32 {
	switch n.(type) {
	case directory:
		return syscall.S_IFDIR
	case symlink:
		return syscall.S_IFLNK
	}
	return syscall.S_IFREG
}

// link is a symbolic link with a fixed target.
type link string

func (l link) target() string { return string(l) }

func (l link) attr(a *fuse.Attr) error {
	a.Mode = syscall.S_IFLNK | 0o777
	a.Size = uint64(len(l))
	return nil
}
