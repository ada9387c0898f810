package fusefs

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"platter/chain"
	"platter/formats"
)

// layers is the directory chain: one directory for each layer, 0 on top. A rebase changes what they are.
type layers struct {
	img *image

	mu    sync.Mutex
	nodes []*layer
}

// layer is one of them. Its node is looked up for each use: a commit opens the layers below anew.
type layer struct {
	*static
	img   *image
	depth int
	of    string       // what the layer is, as it was when the directory was made
	last  atomic.Int64 // the size that it had when it was last asked for, in bytes
}

func newLayers(img *image) *layers { return &layers{img: img} }

// present gives the layers as they are now; the directory of one that is still there stays.
func (d *layers) present() []*layer {
	d.mu.Lock()
	defer d.mu.Unlock()
	var now []*layer
	for n, i := d.img.node, 0; n != nil; n, i = n.SkipFilters().Backing(), i+1 {
		if i < len(d.nodes) && d.nodes[i].of == n.Filename() {
			now = append(now, d.nodes[i])
			continue
		}
		now = append(now, newLayer(d.img, n, i))
	}
	for i, l := range d.nodes {
		if i >= len(now) || now[i] != l {
			d.img.tree.nodes.drop(l)
		}
	}
	d.nodes = now
	return now
}

func newLayer(img *image, n *chain.Node, depth int) *layer {
	l := &layer{static: newStatic(img), img: img, depth: depth, of: n.Filename()}
	tags := tagsOf(n, depth)
	if depth == 0 {
		l.add("disk.raw", img.disk) // the same file under a second name
	} else {
		l.add("disk.raw", &dataFile{img: img, content: &lower{l}, tags: tags})
	}
	// What the active layer holds changes with writes to the guest disk, of which the kernel knows nothing here.
	l.add("own.raw", &dataFile{img: img, content: &own{l}, live: depth == 0 && !img.readOnly, tags: tags})
	if name := hostPath(n); name != "" {
		l.add("file", link(name))
	}
	l.add("info.json", &text{img: img, make: l.info})
	return l
}

func (l *layer) info() ([]byte, error) {
	n := l.node()
	if n == nil {
		return nil, syscall.ESTALE
	}
	return infoJSON(l.img, n)
}

// node is the layer's present node; nil if the image stands on something else now.
func (l *layer) node() *chain.Node {
	n := l.img.node
	for range l.depth {
		if n = n.SkipFilters().Backing(); n == nil {
			return nil
		}
	}
	if n.Filename() != l.of {
		return nil
	}
	return n
}

// use calls f with the layer's node, once more if the node was exchanged meanwhile.
func (l *layer) use(f func(n *chain.Node) error) error {
	for {
		n := l.node()
		if n == nil {
			return syscall.ESTALE
		}
		err := f(n)
		if !errors.Is(err, syscall.ENOMEDIUM) || l.node() == n {
			return err
		}
	}
}

// size is that of the disk as the layer has it, in bytes. One that is not there any more keeps it, so that who still
// reads it meets an error, and no end of the file.
func (l *layer) size() int64 {
	if n := l.node(); n != nil {
		l.last.Store(n.Size())
	}
	return l.last.Load()
}

// lower is the disk as seen from a layer below the active one.
type lower struct{ *layer }

func (v *lower) allocated() int64 {
	if n := v.node(); n != nil {
		return (&view{n}).allocated()
	}
	return 0
}

func (v *lower) readAt(p []byte, off int64) error {
	return v.use(func(n *chain.Node) error { return (&view{n}).readAt(p, off) })
}

func (v *lower) lend(off, n int64, l *formats.Loan) bool {
	node := v.node()
	return node != nil && node.Lend(off, n, l)
}

func (v *lower) run(off, n int64) (length int64, data bool, err error) {
	err = v.use(func(node *chain.Node) error {
		length, data, err = (&view{node}).run(off, n)
		return err
	})
	return length, data, err
}

func (d *layers) attr(a *fuse.Attr) error {
	a.Mode, a.Nlink = syscall.S_IFDIR|0o755, 2
	return nil
}

func (d *layers) child(name string) (node, error) {
	nodes := d.present()
	i, err := strconv.Atoi(name)
	if err != nil || i < 0 || i >= len(nodes) || strconv.Itoa(i) != name {
		return nil, syscall.ENOENT
	}
	return nodes[i], nil
}

func (d *layers) entries() ([]entry, error) {
	var list []entry
	for i := range d.present() {
		list = append(list, entry{strconv.Itoa(i), syscall.S_IFDIR})
	}
	return list, nil
}

func (d *layers) image() *image { return d.img }

func (d *layers) fixed() bool { return false }

// hostPath is the absolute path of the file that a layer lies in, "" if it lies in none of this machine.
func hostPath(n *chain.Node) string {
	f := n
	for f.File() != nil {
		f = f.File()
	}
	if _, ok := formats.As[formats.HostFile](f); !ok {
		return ""
	}
	path, err := filepath.Abs(f.Filename())
	if err != nil {
		return ""
	}
	return path
}

func tagsOf(n *chain.Node, depth int) map[string]string {
	return map[string]string{
		"user.platter.format":    n.Driver().Name,
		"user.platter.layer":     strconv.Itoa(depth),
		"user.platter.host-path": hostPath(n),
	}
}

// own is what one layer holds by itself; the rest are holes.
type own struct{ *layer }

func (o *own) allocated() int64 {
	if n := o.node(); n != nil {
		return allocatedIn(n)
	}
	return 0
}

func (o *own) run(off, n int64) (length int64, data bool, err error) {
	err = o.use(func(node *chain.Node) error {
		length, data, err = ownRun(node, off, n)
		return err
	})
	return length, data, err
}

func ownRun(node *chain.Node, off, n int64) (int64, bool, error) {
	e, err := node.Status(context.Background(), off, n)
	return e.Len, e.State.Has(formats.Allocated) && e.State.Has(formats.Data) && !e.State.Has(formats.Zero), err
}

func (o *own) readAt(p []byte, off int64) error {
	return o.use(func(node *chain.Node) error { return ownRead(node, p, off) })
}

func ownRead(node *chain.Node, p []byte, off int64) error {
	for len(p) > 0 {
		n, held, err := ownRun(node, off, int64(len(p)))
		if err != nil {
			return err
		}
		if n = min(n, int64(len(p))); n <= 0 {
			return syscall.EIO
		}
		if !held {
			clear(p[:n])
		} else if err := node.ReadAt(context.Background(), p[:n], off); err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}
