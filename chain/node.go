package chain

import (
	"context"
	"sync"
	"sync/atomic"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// sectorSize is QEMU's BDRV_SECTOR_SIZE: sizes are shown as multiples of it.
const sectorSize = 512

// Child is an edge of the graph.
type Child struct {
	Role string // "file", "backing", "data-file", "extents.0" …
	Node *Node
}

// Node is an open image in the graph. It implements formats.File.
type Node struct {
	drv      *formats.Driver
	img      formats.Image
	flags    formats.OpenFlags
	name     string // as given or derived; QEMU's bs->filename
	nodeName string
	given    *qobj.Dict // runtime options as given, without children
	children []Child    // all but the backing file
	backing  atomic.Pointer[Node]
	storage  bool // opened as the storage of another node: may grow, reads past the end give zeroes
	borrowed bool // the children and the backing file are another node's
	override bool // the backing file was chosen by runtime options
	probe    func(head []byte) bool
	zeroes   detectZeroes
	origin   place // what opened it, to open it once more

	writer   formats.Writer
	events   formats.Events // of n itself, …
	below    formats.Events // … and of its storage
	recorder formats.Recorder
	lender   formats.Lender

	gate   sync.RWMutex // shared by requests, held alone by Exclusive
	closed bool
	ranges rangeLock

	writes  atomic.Uint64 // completed changes …
	flushed atomic.Uint64 // … and how many of them a flush has covered
	failed  atomic.Pointer[error]
}

var _ formats.File = (*Node)(nil)

// Wrap makes a node of an image that was opened without the graph: snapshot views and tests. The children stay the
// caller's.
func Wrap(drv *formats.Driver, img formats.Image, flags formats.OpenFlags, name string) *Node {
	n := &Node{drv: drv, img: img, flags: flags, name: name, given: qobj.NewDict()}
	n.adopt()
	return n
}

// View makes a read-only node of another state of n's image, a snapshot's, on the same children and backing file. These
// stay n's: closing the view closes img alone.
func (n *Node) View(img formats.Image) *Node {
	v := Wrap(n.drv, img, n.flags&^formats.ReadWrite, n.name)
	v.children, v.borrowed = n.children, true
	v.backing.Store(n.Backing())
	return v
}

func (n *Node) adopt() {
	n.writer, _ = n.img.(formats.Writer)
	n.recorder, _ = n.img.(formats.Recorder)
	n.events = formats.EventsOf(n.img)
	if f := n.File(); f != nil {
		n.below = f.events
	}
	n.lender, _ = n.img.(formats.Lender)
}

// Driver is the driver of this node.
func (n *Node) Driver() *formats.Driver { return n.drv }

// Unwrap is the driver's image; formats.As finds capabilities through it.
func (n *Node) Unwrap() formats.Image { return n.img }

// Flags are those the node was opened with.
func (n *Node) Flags() formats.OpenFlags { return n.flags }

// NodeName is the node-name given in runtime options, or "".
func (n *Node) NodeName() string { return n.nodeName }

// ReadOnly reports whether writes are refused.
func (n *Node) ReadOnly() bool { return !n.flags.Has(formats.ReadWrite) }

// Backing is the backing file's node, nil if there is none.
func (n *Node) Backing() *Node { return n.backing.Load() }

// Child finds a child by its role, the backing file included; nil if there is none.
func (n *Node) Child(role string) *Node {
	if role == "backing" {
		return n.Backing()
	}
	for _, c := range n.children {
		if c.Role == role {
			return c.Node
		}
	}
	return nil
}

// File is the primary storage child, nil for protocols.
func (n *Node) File() *Node {
	if len(n.children) == 0 {
		return nil
	}
	return n.children[0].Node
}

// Children lists all edges, the backing file last.
func (n *Node) Children() []Child {
	all := append([]Child(nil), n.children...)
	if b := n.Backing(); b != nil {
		all = append(all, Child{"backing", b})
	}
	return all
}

// Filtered is the node behind a filter, nil if n is no filter.
func (n *Node) Filtered() *Node {
	if n.drv.Kind != formats.Filter {
		return nil
	}
	return n.File()
}

// Below is the next node that content comes from: the filtered child or the backing file.
func (n *Node) Below() *Node {
	if f := n.Filtered(); f != nil {
		return f
	}
	return n.Backing()
}

// SkipFilters is the first node from n downwards that is no filter.
func (n *Node) SkipFilters() *Node {
	for n != nil && n.Filtered() != nil {
		n = n.Filtered()
	}
	return n
}

// Size is the virtual size in bytes, rounded up to 512 as QEMU shows it.
func (n *Node) Size() int64 { return roundUp(n.img.Size(), sectorSize) }

// Limits are the driver's; a node takes requests of any alignment all the same.
func (n *Node) Limits() formats.Limits {
	l := n.img.Limits()
	l.Align = max(l.Align, 1)
	if n.probe != nil {
		l.Align = max(l.Align, sectorSize)
	}
	l.ZeroAlign, l.DiscardAlign = max(l.ZeroAlign, l.Align), max(l.DiscardAlign, l.Align)
	if n.Backing() != nil {
		l.ZeroInit = false
	}
	return l
}

// AllocatedSize is the space that the image takes on its host, in bytes, without its backing file. ENOTSUP if unknown.
func (n *Node) AllocatedSize(ctx context.Context) (int64, error) {
	if a, ok := n.img.(formats.HostSized); ok {
		return a.AllocatedSize(ctx)
	}
	if n.drv.Kind == formats.Protocol || len(n.children) == 0 {
		return 0, qerr.New(syscall.ENOTSUP, "allocated size is not known")
	}
	var sum int64
	for _, c := range n.children {
		s, err := c.Node.AllocatedSize(ctx)
		if err != nil {
			return 0, err
		}
		sum += s
	}
	return sum, nil
}

// Exclusive runs f while no request is in flight at this node: for snapshots, resize, amend, check.
func (n *Node) Exclusive(f func() error) error {
	n.gate.Lock()
	defer n.gate.Unlock()
	if n.closed {
		return errClosed
	}
	defer n.writes.Add(1)
	return f()
}

// SetBacking exchanges the backing file of an open image, exclusively, and returns the former one, which is the
// caller's to close.
func (n *Node) SetBacking(b *Node) (old *Node, err error) {
	err = n.Exclusive(func() error {
		backed, ok := n.img.(formats.Backed)
		if !ok {
			return qerr.New(syscall.ENOTSUP, "Driver '%s' of node '%s' does not support backing files", n.drv.Name, n.nodeName)
		}
		var f formats.File
		if b != nil {
			f = b
		}
		if err := backed.SetBacking(f); err != nil {
			return err
		}
		old = n.backing.Swap(b)
		return nil
	})
	return old, err
}

var errClosed = qerr.New(syscall.ENOMEDIUM, "image is closed")

// Close waits for requests, flushes and closes the driver's image, then its children. The first error is returned, but
// everything is closed.
func (n *Node) Close() error {
	n.gate.Lock()
	defer n.gate.Unlock()
	if n.closed {
		return nil
	}
	n.closed = true
	err := n.img.Close()
	if n.borrowed {
		return err
	}
	for _, c := range n.Children() {
		if e := c.Node.Close(); err == nil {
			err = e
		}
	}
	if f := n.failed.Load(); f != nil && err == nil {
		err = *f
	}
	return err
}

func roundUp(v, to int64) int64 { return (v + to - 1) / to * to }

func roundDown(v, to int64) int64 { return v / to * to }
