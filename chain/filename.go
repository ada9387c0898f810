package chain

import (
	"strings"

	"platter/formats"
	"platter/formats/qobj"
)

// Filename is the name under which an image is shown: the plain one where it says everything, otherwise a json: name
// with the options that matter (QEMU's bdrv_refresh_filename).
func (n *Node) Filename() string {
	if exact := n.exactName(); exact != "" {
		return exact
	}
	return "json:" + string(qobj.AppendJSON(nil, n.FullOptions(), false))
}

// exactName is the plain name, "" if there is none that says everything.
func (n *Node) exactName() string {
	if n.drv.Kind == formats.Protocol {
		if named, ok := n.img.(formats.Named); ok {
			return named.FileName()
		}
		return n.name
	}
	if n.drv.FilterName != nil && n.File() != nil {
		return n.filterName()
	}
	if n.drv.Kind == formats.Filter || n.strongGiven() || n.BackingOverridden() || n.File() == nil {
		return ""
	}
	if f := n.File(); f.drv.Named() {
		return f.exactName()
	}
	return ""
}

// filterName is the plain name that the driver makes of the child's, if the child has one.
func (n *Node) filterName() string {
	child := n.File().exactName()
	if child == "" {
		return ""
	}
	return n.drv.FilterName(n.given, child)
}

func (n *Node) strongGiven() bool {
	for _, name := range n.drv.StrongOpts {
		if given := strings.TrimSuffix(name, "."); n.given.Has(given) {
			return true
		}
		if strings.HasSuffix(name, ".") {
			for _, k := range n.given.Keys() {
				if strings.HasPrefix(k, name) {
					return true
				}
			}
		}
	}
	return false
}

// BackingOverridden reports whether the backing file in use is another than the one that the image states. Without
// I/O the backing file was not opened, and nothing is known.
func (n *Node) BackingOverridden() bool {
	if !n.override || n.flags.Has(formats.NoIO) {
		return false
	}
	full, err := n.statedBacking()
	b := n.Backing()
	if b == nil {
		return err == nil && full != ""
	}
	return err != nil || b.Filename() != full
}

// statedBacking is FullBackingName resolved against the storage's name, which does not depend on the backing file.
func (n *Node) statedBacking() (string, error) {
	b, ok := n.img.(formats.Backed)
	if !ok || n.File() == nil {
		return "", nil
	}
	name, _ := b.BackingFile()
	if name == "" {
		return "", nil
	}
	return combine(n.bottom().exactName(), name), nil
}

// FullOptions are the runtime options that open the same graph again.
func (n *Node) FullOptions() *qobj.Dict {
	d := qobj.NewDict()
	for _, name := range n.drv.StrongOpts {
		for _, k := range n.given.Keys() {
			if k == name || strings.HasSuffix(name, ".") && strings.HasPrefix(k, name) {
				v, _ := n.given.Get(k)
				d.Set(k, v)
			}
		}
	}
	if n.drv.Kind == formats.Protocol {
		if opts, ok := n.img.(formats.Optioned); ok {
			return opts.FullOptions()
		}
		if exact := n.exactName(); exact != "" {
			d.Set("filename", exact)
		}
	}
	d.Set("driver", n.drv.Name)
	for _, c := range n.children {
		d.Set(c.Role, c.Node.FullOptions())
	}
	if n.BackingOverridden() {
		if b := n.Backing(); b != nil {
			d.Set("backing", b.FullOptions())
		} else {
			d.Set("backing", nil)
		}
	}
	return d
}
