package chain

import (
	"context"
	"strings"
	"syscall"

	"platter/formats"
	"platter/formats/option"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// Env is what opening and creating images needs from outside.
type Env struct {
	Registry *formats.Registry
	Gate     Gate
	*formats.Env
}

// Request says which image to open and how.
type Request struct {
	Filename string
	Format   string                // driver name; "" probes
	Options  *qobj.Dict            // runtime options, nested or flat; may be nil
	Flags    formats.OpenFlags     //
	Probed   func(*formats.Driver) // told which format was guessed; may be nil
}

// Open opens an image and all that it is made of. Errors are in QEMU's words, without the "Could not open 'NAME': "
// that the verbs put before them.
func Open(ctx context.Context, env *Env, r Request) (*Node, error) {
	opts := qobj.NewDict()
	if r.Options != nil {
		opts = r.Options.Clone()
		opts.Flatten()
	}
	if r.Format != "" {
		if opts.Has("driver") {
			return nil, qerr.New(syscall.EINVAL, "Cannot specify both 'driver' and 'format'")
		}
		opts.Set("driver", r.Format)
	}
	name := r.Filename
	if file := env.BundleFile(name); file != "" {
		name = file
	}
	o := opener{env: env}
	return o.open(ctx, place{role: asRoot, filename: name, opts: opts, flags: r.Flags})
}

// role says what a node is to its parent.
type role uint8

const (
	asRoot    role = iota
	asStorage      // holds the bytes of a format: a protocol unless a driver is named
	asBacking
)

// place is one node to be opened.
type place struct {
	role     role
	keeper   *formats.Driver // the format that keeps metadata in this storage, nil if none does
	late     bool            // that is not known yet: locks are taken when it is
	filename string
	opts     *qobj.Dict // flat, owned
	flags    formats.OpenFlags
	fromImg  bool // the name comes out of an image, not from the user
	use      formats.ChildUse
}

// opener carries what the nodes of one graph share while it is opened.
type opener struct {
	env   *Env
	depth int
	above []identity // the files of the layers that lead to the present one, for finding loops
	again bool       // the image was open before: nobody is warned a second time
}

type identity struct{ dev, ino uint64 }

func (o *opener) open(ctx context.Context, p place) (*Node, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	origin := p
	origin.opts = p.opts.Clone()
	if o.depth++; o.depth > MaxDepth {
		return nil, qerr.New(syscall.ELOOP, "more than %d images refer to one another", MaxDepth)
	}
	defer func() { o.depth-- }()
	if err := p.parseJSON(); err != nil {
		return nil, err
	}
	c, err := takeCommon(p.opts, p.flags)
	if err != nil {
		return nil, err
	}
	p.flags = c.flags
	drv, err := o.driver(&p, c.driver)
	if err != nil {
		return nil, err
	}
	n := &Node{name: p.filename, nodeName: c.nodeName, zeroes: c.zeroes, storage: p.role == asStorage, origin: origin}
	if err := o.build(ctx, n, p, drv); err != nil {
		n.closeChildren()
		return nil, err
	}
	return n, nil
}

// build opens n's children, then n itself, then its backing file.
func (o *opener) build(ctx context.Context, n *Node, p place, drv *formats.Driver) error {
	raw := false // the format was found to be raw
	if drv == nil || drv.Kind != formats.Protocol {
		if err := o.openPrimary(ctx, n, p, drv); err != nil {
			return err
		}
	}
	if drv == nil {
		if n.File() == nil {
			return qerr.New(syscall.EINVAL, "Must specify either driver or file")
		}
		var err error
		if drv, err = o.probe(ctx, n, p); err != nil {
			return err
		}
		p.flags |= formats.Probed
		// A format looks at its metadata under locks; with raw there is none, and whoever uses the image locks it.
		if !drv.RawCreate {
			if err := settle(n.File(), drv); err != nil {
				return err
			}
		} else {
			raw = true
		}
	}
	n.drv, n.flags = drv, p.flags
	if err := o.openImage(ctx, n, p); err != nil {
		return err
	}
	if raw {
		if err := settle(n.File(), drv); err != nil {
			n.img.Close()
			return err
		}
	}
	if err := o.openBacking(ctx, n, p); err != nil {
		n.img.Close()
		return err
	}
	if err := leftover(drv, p.opts); err != nil {
		n.closeBoth()
		return err
	}
	return nil
}

// parseJSON turns a json: name into options; options given beside it win.
func (p *place) parseJSON() error {
	text, ok := strings.CutPrefix(p.filename, "json:")
	if !ok {
		return nil
	}
	v, err := qobj.ParseJSON(text)
	if err != nil {
		return qerr.Prepend(err, "Could not parse the JSON options: ")
	}
	d, ok := v.(*qobj.Dict)
	if !ok {
		return qerr.New(syscall.EINVAL, "Invalid JSON object given")
	}
	d.Flatten()
	for k, v := range d.All() {
		if !p.opts.Has(k) {
			p.opts.Set(k, v)
		}
	}
	p.filename = ""
	return nil
}

// driver finds the driver that is named, or the protocol for a bare file name; nil means that a format is to be
// probed. It leaves p.filename as the name for messages and the protocol's options in p.opts.
func (o *opener) driver(p *place, name string) (*formats.Driver, error) {
	var drv *formats.Driver
	if name != "" {
		if drv = o.env.Registry.Find(name); drv == nil {
			return nil, qerr.New(syscall.EINVAL, "Unknown driver '%s'", name)
		}
	}
	named := p.role == asStorage
	if drv != nil {
		named = drv.Named()
	}
	if !named {
		return drv, nil
	}
	parse := false
	if p.filename != "" {
		if p.opts.Has("filename") {
			return nil, qerr.New(syscall.EINVAL, "Can't specify 'file' and 'filename' options at the same time")
		}
		p.opts.Set("filename", p.filename)
		parse = true
	}
	p.filename, _ = p.opts.String("filename")
	if drv == nil {
		if p.filename == "" {
			return nil, qerr.New(syscall.EINVAL, "Must specify either driver or file")
		}
		var err error
		if drv, err = o.env.protocol(p.filename, parse); err != nil {
			return nil, err
		}
	}
	if parse && drv.ParseName != nil {
		if err := drv.ParseName(p.filename, p.opts); err != nil {
			return nil, err
		}
	}
	if drv.Kind == formats.Filter {
		p.opts.Delete("filename")
	}
	return drv, nil
}

// protocol finds the protocol driver for a file name; with prefix it looks at "proto:" prefixes.
func (e *Env) protocol(name string, prefix bool) (*formats.Driver, error) {
	if prefix && hasProtocol(name) {
		if drv := e.Registry.Scheme(protocolOf(name)); drv != nil {
			return drv, nil
		}
		return nil, qerr.New(syscall.EINVAL, "Unknown protocol '%s'", protocolOf(name))
	}
	return e.Registry.Find(hostDriver(name)), nil
}

// probe reads the first sector and asks all formats.
func (o *opener) probe(ctx context.Context, n *Node, p place) (*formats.Driver, error) {
	file := n.File()
	raw := o.env.Registry.Find("raw")
	if file.Size() == 0 {
		return raw, nil
	}
	head := make([]byte, sectorSize)
	if err := file.ReadAt(ctx, head, 0); err != nil {
		return nil, qerr.Errno(qerr.Of(err), "Could not read image for determining its format")
	}
	drv := o.env.Registry.Probe(head, file.name)
	if drv == nil {
		return nil, qerr.New(syscall.ENOENT, "Could not determine image format: No compatible driver found")
	}
	return drv, nil
}

// openImage reads the driver's options, opens what else the image is made of, and calls the driver.
func (o *opener) openImage(ctx context.Context, n *Node, p place) error {
	drv := n.drv
	n.given = p.opts.Clone() // as typed, for json: names
	v, err := option.FromDict(drv.OpenOpts, p.opts)
	if err != nil {
		return err
	}
	for _, k := range n.given.Keys() {
		if !v.Has(k) {
			n.given.Delete(k)
		}
	}
	if drv.Kind != formats.Protocol && n.File() == nil {
		return qerr.New(syscall.EINVAL, "A block device must be specified for \"%s\"", primary(drv))
	}
	a := formats.OpenArgs{Name: p.filename, Options: v, Flags: n.flags, Env: o.env.Env}
	a.Beside = func(ctx context.Context, fits func([]byte) bool) (string, error) { return o.beside(ctx, n, fits) }
	if f := n.File(); f != nil {
		a.File = f
		if a.Name == "" {
			a.Name = f.Filename()
			n.name = a.Name
		}
	}
	a.Perm, a.Shared = perms(p)
	if drv.Needs != nil {
		if err := o.openNeeds(ctx, n, p, &a); err != nil {
			return err
		}
	}
	if n.img, err = drv.Open(ctx, a); err != nil {
		if errno, bare := err.(syscall.Errno); bare { // a driver without words of its own
			return qerr.Errno(errno, "Could not open '%s'", a.Name)
		}
		return err
	}
	n.adopt()
	if drv.Kind == formats.Protocol {
		if err := n.mayWrite(a.Perm); err != nil {
			n.img.Close()
			return err
		}
	}
	if named, ok := n.img.(formats.Named); ok && n.name == "" {
		n.name = named.FileName()
	}
	if drv.RawCreate && n.flags.Has(formats.Probed|formats.ReadWrite) {
		n.guardProbe(o.env)
		if !o.again {
			n.WarnGuessed(o.env)
		}
	}
	return nil
}

// guardProbe keeps a guest from turning a disk whose format was guessed as raw into one of another format by writing
// its first sector (CVE-2008-2004).
func (n *Node) guardProbe(env *Env) {
	n.probe = func(head []byte) bool {
		return env.Registry.Probe(head[:min(len(head), sectorSize)], "") != n.drv
	}
}

// WarnGuessed says that the image was guessed to be raw, if it was, and what that means for writing.
func (n *Node) WarnGuessed(env *Env) {
	if n.probe == nil {
		return
	}
	env.Report("WARNING: Image format was not specified for '%s' and probing guessed raw.\n"+
		"         Automatically detecting the format is dangerous for raw images, write operations on block 0 will be restricted.\n"+
		"         Specify the 'raw' format explicitly to remove the restrictions.", n.Filename())
}

// leftover reports the first option that nobody took.
func leftover(drv *formats.Driver, opts *qobj.Dict) error {
	keys := opts.Keys()
	if len(keys) == 0 {
		return nil
	}
	if drv.Named() {
		return qerr.New(syscall.EINVAL, "Block protocol '%s' doesn't support the option '%s'", drv.Name, keys[0])
	}
	return qerr.New(syscall.EINVAL, "Block format '%s' does not support the option '%s'", drv.Name, keys[0])
}

// closeChildren undoes a failed open.
func (n *Node) closeChildren() {
	for _, c := range n.Children() {
		c.Node.Close()
	}
}

func (n *Node) closeBoth() { n.img.Close() }
