package chain

import (
	"context"
	"slices"
	"strings"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// inherit gives the flags of a storage or filtered child. Formats send flushes and discards with care, so the layers
// below always let them through.
func inherit(f formats.OpenFlags) formats.OpenFlags {
	f |= formats.Unmap
	return f &^ (formats.NoBacking | formats.Probed | formats.WriteThrough)
}

// openPrimary opens the "file" child; without one the driver's Open, or the probe, says what is missing.
func (o *opener) openPrimary(ctx context.Context, n *Node, p place, drv *formats.Driver) error {
	key, name := primary(drv), p.filename
	var use formats.ChildUse
	if drv != nil && drv.Prepare != nil {
		var err error
		if use, err = drv.Prepare(p.opts); err != nil {
			return err
		}
	}
	if drv != nil && drv.Named() {
		name, _ = takeString(p.opts, formats.FilterImage)
	}
	child, err := takeChild(p.opts, key)
	if err != nil || child == nil && name == "" {
		return err
	}
	if child == nil {
		child = qobj.NewDict()
	}
	c := place{role: asStorage, keeper: keeperOf(p, drv), filename: name, opts: child, flags: inherit(p.flags), fromImg: p.fromImg, use: use}
	c.late = drv == nil || p.late && c.keeper == nil
	node, err := o.open(ctx, c)
	if err != nil {
		return err
	}
	n.children = append(n.children, Child{key, node})
	if use.Take&(formats.PermWrite|formats.PermWriteUnchanged) != 0 && node.ReadOnly() {
		return qerr.New(syscall.EPERM, "Block node is read-only")
	}
	return nil
}

// primary is the role of a driver's storage child.
func primary(drv *formats.Driver) string {
	if drv != nil && drv.Primary != "" {
		return drv.Primary
	}
	return "file"
}

// takeChild removes the options of a child from d; nil if none are given. A reference to a node by name cannot be
// followed: one command has one graph.
func takeChild(d *qobj.Dict, key string) (*qobj.Dict, error) {
	if ref, ok := d.String(key); ok {
		return nil, qerr.New(syscall.ENODEV, "Cannot find device='%s' nor node-name='%s'", ref, ref)
	}
	sub := d.Extract(key + ".")
	if sub.Len() == 0 {
		return nil, nil
	}
	return sub, nil
}

// openNeeds opens the further children that the driver asks for. Runtime options for a role win over what the image
// says.
func (o *opener) openNeeds(ctx context.Context, n *Node, p place, a *formats.OpenArgs) error {
	needs, err := n.drv.Needs(ctx, *a)
	if err != nil {
		return err
	}
	a.Children, a.Failed = map[string]formats.File{}, map[string]error{}
	for _, need := range needs {
		if need.Given && !named(p.opts, need.Role) {
			continue
		}
		node, err := o.openNeed(ctx, n, p, need)
		if err != nil && need.Optional {
			a.Failed[need.Role] = err
			continue
		}
		if err != nil {
			return err
		}
		n.children = append(n.children, Child{need.Role, node})
		a.Children[need.Role] = node
	}
	return nil
}

// named reports whether runtime options give the child of a role.
func named(d *qobj.Dict, role string) bool {
	return slices.ContainsFunc(d.Keys(), func(k string) bool { return k == role || strings.HasPrefix(k, role+".") })
}

func (o *opener) openNeed(ctx context.Context, n *Node, p place, need formats.Need) (*Node, error) {
	opts, err := takeChild(p.opts, need.Role)
	if err != nil {
		return nil, err
	}
	c := place{role: asStorage, keeper: n.drv, opts: opts, flags: inherit(p.flags)}
	if opts == nil {
		c.opts, c.fromImg = qobj.NewDict(), true
		if need.Options != nil {
			c.opts = need.Options.Clone()
			c.opts.Flatten()
		}
		if need.Format != "" {
			c.opts.Set("driver", need.Format)
		}
		if c.filename, err = o.resolveNeed(n, need); err != nil {
			return nil, err
		}
	}
	if need.ReadOnly {
		c.flags &^= formats.ReadWrite
	}
	return o.open(ctx, c)
}

func (o *opener) resolveNeed(n *Node, need formats.Need) (string, error) {
	if need.Name == "" {
		return "", nil
	}
	if need.Literal {
		return need.Name, o.env.Gate.check(n.name, need.Name)
	}
	name := combine(n.File().exactName(), need.Name)
	return name, o.env.Gate.part(n.name, name)
}

// openBacking opens the backing file that the image states, or the one that runtime options give.
func (o *opener) openBacking(ctx context.Context, n *Node, p place) error {
	if n.flags.Has(formats.NoBacking) {
		o.dropNullBacking(p.opts)
		return nil
	}
	backed, _ := n.img.(formats.Backed)
	if none, given := o.dropNullBacking(p.opts); given && none {
		n.override = backed != nil
		return nil
	}
	opts, err := takeChild(p.opts, "backing")
	if err != nil {
		return err
	}
	name, format := "", ""
	if backed != nil {
		name, format = backed.BackingFile()
	}
	if name == "" && opts == nil {
		return nil
	}
	if !n.drv.Backing || backed == nil {
		return qerr.New(syscall.EINVAL, "Driver doesn't support backing files")
	}
	node, err := o.backing(ctx, n, p, opts, format)
	if err != nil {
		return qerr.Prepend(err, "Could not open backing file: ")
	}
	if err := backed.SetBacking(node); err != nil {
		node.Close()
		return err
	}
	n.backing.Store(node)
	return nil
}

// dropNullBacking removes "backing": null (or an empty string), which means that no backing file is to be opened.
func (o *opener) dropNullBacking(opts *qobj.Dict) (none, given bool) {
	v, given := opts.Get("backing")
	if v == "" {
		o.env.Warn("Use of \"backing\": \"\" is deprecated; use \"backing\": null instead")
	}
	if none = v == nil || v == ""; given && none {
		opts.Delete("backing")
	}
	return none, given
}

func (o *opener) backing(ctx context.Context, n *Node, p place, opts *qobj.Dict, format string) (*Node, error) {
	c := place{role: asBacking, opts: opts, flags: inherit(p.flags) &^ (formats.ReadWrite | formats.Resize)}
	if opts == nil {
		c.opts = qobj.NewDict()
	}
	n.override = opts != nil
	if !c.opts.Has("file.filename") {
		full, err := n.FullBackingName()
		if err != nil {
			return nil, err
		}
		c.filename, c.fromImg = full, true
		if err := o.env.Gate.check(n.name, full); err != nil {
			return nil, err
		}
	}
	if format != "" && !c.opts.Has("driver") { // the stated format holds for another file, too
		c.opts.Set("driver", format)
	}
	return o.enterLayer(ctx, n, c)
}

// enterLayer opens the next layer and refuses one that is above it already.
func (o *opener) enterLayer(ctx context.Context, n *Node, c place) (*Node, error) {
	id, ok := n.identity()
	if ok {
		for _, a := range o.above {
			if a == id {
				return nil, qerr.New(syscall.ELOOP, "Backing file '%s' creates an infinite loop.", n.name)
			}
		}
		o.above = append(o.above, id)
		defer func() { o.above = o.above[:len(o.above)-1] }()
	}
	return o.open(ctx, c)
}

// identity is the host file at the bottom of this layer.
func (n *Node) identity() (identity, bool) {
	for f := n; f != nil; f = f.File() {
		if i, ok := f.img.(formats.Identified); ok {
			dev, ino, ok := i.Identity()
			return identity{dev, ino}, ok
		}
	}
	return identity{}, false
}

// OpenBacking opens the backing file that n states without attaching it (info --backing-chain walks with it).
func OpenBacking(ctx context.Context, env *Env, n *Node, flags formats.OpenFlags) (*Node, error) {
	o := opener{env: env}
	backed, ok := n.img.(formats.Backed)
	if !ok {
		return nil, qerr.New(syscall.EINVAL, "Driver doesn't support backing files")
	}
	_, format := backed.BackingFile()
	return o.backing(ctx, n, place{flags: flags}, nil, strings.TrimSpace(format))
}
