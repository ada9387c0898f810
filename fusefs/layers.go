package fusefs

import (
	"context"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"platter/chain"
	"platter/formats"
)

// layers is the directory chain: one directory for each layer, 0 on top.
type layers struct {
	img   *image
	nodes []*layer
}

// layer is one of them.
type layer struct {
	*static
	node *chain.Node
}

func newLayers(img *image) *layers {
	d := &layers{img: img}
	for n, i := img.node, 0; n != nil; n, i = n.SkipFilters().Backing(), i+1 {
		d.nodes = append(d.nodes, newLayer(img, n, i))
	}
	return d
}

func newLayer(img *image, n *chain.Node, depth int) *layer {
	l := &layer{static: newStatic(), node: n}
	tags := tagsOf(n, depth)
	if depth == 0 {
		l.add("disk.raw", img.disk) // the same file under a second name
	} else {
		l.add("disk.raw", &dataFile{img: img, content: &view{node: n}, tags: tags})
	}
	// What the active layer holds changes with writes to the guest disk, of which the kernel knows nothing here.
	l.add("own.raw", &dataFile{img: img, content: &own{n}, live: depth == 0 && !img.readOnly, tags: tags})
	if name := hostPath(n); name != "" {
		l.add("file", link(name))
	}
	l.add("info.json", &text{img: img, make: func() ([]byte, error) { return infoJSON(img, n) }})
	return l
}

func (d *layers) attr(a *fuse.Attr) error {
	a.Mode, a.Nlink = syscall.S_IFDIR|0o755, 2
	return nil
}

func (d *layers) child(name string) (node, error) {
	i, err := strconv.Atoi(name)
	if err != nil || i < 0 || i >= len(d.nodes) || strconv.Itoa(i) != name {
		return nil, syscall.ENOENT
	}
	return d.nodes[i], nil
}

func (d *layers) entries() ([]entry, error) {
	var list []entry
	for i := range d.nodes {
		list = append(list, entry{strconv.Itoa(i), syscall.S_IFDIR})
	}
	return list, nil
}

func (d *layers) fixed() bool { return true }

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
type own struct{ node *chain.Node }

func (o *own) size() int64 { return o.node.Size() }

func (o *own) run(off, n int64) (int64, bool, error) {
	e, err := o.node.Status(context.Background(), off, n)
	held := e.State.Has(formats.Allocated) && e.State.Has(formats.Data) && !e.State.Has(formats.Zero)
	return e.Len, held, err
}

func (o *own) readAt(p []byte, off int64) error {
	for len(p) > 0 {
		n, held, err := o.run(off, int64(len(p)))
		if err != nil {
			return err
		}
		if n = min(n, int64(len(p))); n <= 0 {
			return syscall.EIO
		}
		if !held {
			clear(p[:n])
		} else if err := o.node.ReadAt(context.Background(), p[:n], off); err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

func (o *own) allocated() int64 { return allocatedIn(o.node) }
