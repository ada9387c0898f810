package chain

import (
	"context"
	"syscall"

	"platter/formats"
	"platter/formats/option"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// CreateRequest says which image to make.
type CreateRequest struct {
	Filename string
	Driver   *formats.Driver
	Options  *option.Values // by CreateSchema
	Size     int64          // virtual size in bytes
}

// CreateSchema is what -o of create takes for that format at that place: the format's options and the protocol's.
func CreateSchema(env *Env, drv *formats.Driver, filename string) (option.Schema, error) {
	proto, err := env.protocol(filename, true)
	if err != nil {
		return nil, err
	}
	if drv.CreateOpts == nil {
		return nil, qerr.New(syscall.ENOTSUP, "Format driver '%s' does not support image creation", drv.Name)
	}
	if proto.CreateOpts == nil {
		return nil, qerr.New(syscall.ENOTSUP, "Protocol driver '%s' does not support image creation", proto.Name)
	}
	return option.Merge(drv.CreateOpts, proto.CreateOpts), nil
}

// Create makes a new image, and removes what it made if that fails and the format wants it (scripts see whether a file
// is there). The text of errors is QEMU's, without the
// "NAME: " that the verbs put before them.
func Create(ctx context.Context, env *Env, r CreateRequest) error {
	a := formats.CreateArgs{Name: r.Filename, Size: r.Size, Options: r.Options, Env: env.Env}
	proto, err := env.protocol(r.Filename, true)
	if err != nil {
		return err
	}
	if r.Driver.Kind == formats.Protocol {
		proto = r.Driver
	}
	if r.Driver.RawCreate || r.Driver.Kind == formats.Protocol {
		return createProtocol(ctx, env, proto, r.Filename, r.Size, r.Options)
	}
	// What is more than 63 bits can hold becomes negative, which drivers refuse in stock's words.
	a.Size = int64((uint64(a.Size) + sectorSize - 1) &^ (sectorSize - 1))
	a.HasDriver = func(name string) bool { return env.Registry.Find(name) != nil }
	m := maker{env: env, driver: r.Driver}
	err = m.make(ctx, proto, a)
	if e := m.close(); err == nil {
		err = e
	}
	if err != nil && r.Driver.RemovesFailed {
		m.remove(context.WithoutCancel(ctx))
	}
	return err
}

func createProtocol(ctx context.Context, env *Env, proto *formats.Driver, name string, size int64, v *option.Values) error {
	if proto.CreateOpts == nil {
		return qerr.New(syscall.ENOTSUP, "Protocol driver '%s' does not support creating files", proto.Name)
	}
	own := &option.Values{}
	for _, o := range proto.CreateOpts {
		if raw, ok := v.Raw(o.Name); ok {
			if err := own.Set(proto.CreateOpts, o.Name, raw); err != nil {
				return err
			}
		}
	}
	if proto.Create == nil {
		return createOnExisting(ctx, env, proto, name, size, own)
	}
	return proto.Create(ctx, formats.CreateArgs{Name: name, Size: size, Options: own, Env: env.Env})
}

// createOnExisting makes room for size bytes in what is there (a device, a server's image) and wipes its first sector,
// so that no former format is found in it.
func createOnExisting(ctx context.Context, env *Env, proto *formats.Driver, name string, size int64, v *option.Values) error {
	pre := v.String("preallocation", "off")
	if _, ok := formats.ParsePrealloc(pre); !ok && pre != "" {
		return qerr.New(syscall.EINVAL, "invalid parameter value: %s", pre)
	}
	if pre != "off" && pre != "" {
		return qerr.New(syscall.ENOTSUP, "Unsupported preallocation mode '%s'", pre)
	}
	o := opener{env: env}
	n, err := o.open(ctx, place{role: asStorage, filename: name, opts: qobj.NewDict(), flags: formats.ReadWrite | formats.Resize})
	if err != nil {
		return qerr.Prepend(err, "Protocol driver '%s' does not support creating new images, so an existing image must be "+
			"selected as the target; however, opening the given target as an existing image failed: ", proto.Name)
	}
	err = n.Truncate(ctx, size, formats.PreallocOff)
	fixed, isFixed := n.img.(formats.Fixed)
	switch {
	case n.Size() >= size:
		err = nil // what cannot be resized but is large enough will do
	case isFixed:
		err = fixed.TooSmall()
	}
	if first := min(n.Size(), sectorSize); err == nil && first > 0 {
		if err = n.WriteZeroes(ctx, 0, first, formats.MayUnmap); err != nil {
			err = qerr.Prepend(err, "Failed to clear the new image's first sector: ")
		}
	}
	if e := n.Close(); err == nil {
		err = e
	}
	return err
}

// maker remembers what a create has made and opened.
type maker struct {
	env    *Env
	driver *formats.Driver
	made   []string
	open   []*Node
}

func (m *maker) make(ctx context.Context, proto *formats.Driver, a formats.CreateArgs) error {
	// Asked first: options that make no image must not cost the file that is there.
	var needs []formats.Need
	if m.driver.CreateNeeds != nil {
		var err error
		if needs, err = m.driver.CreateNeeds(a); err != nil {
			return err
		}
	}
	file, err := m.create(ctx, proto, a.Name, 0, a.Options)
	if err != nil {
		return err
	}
	a.File, a.Children = file, map[string]formats.File{}
	for _, need := range needs {
		node, err := m.need(ctx, need, a)
		if err != nil {
			return err
		}
		a.Children[need.Role] = node
	}
	if err := m.driver.Create(ctx, a); err != nil {
		return err
	}
	for _, n := range m.open {
		if err := n.Flush(ctx); err != nil {
			return qerr.Errno(qerr.Of(err), "Could not flush '%s'", n.name)
		}
	}
	return nil
}

// create makes an empty protocol file and opens it. Options that the format reads itself are not the protocol's.
func (m *maker) create(ctx context.Context, proto *formats.Driver, name string, size int64, v *option.Values) (*Node, error) {
	rest := &option.Values{}
	if v != nil {
		rest = v.Clone()
		for _, o := range m.driver.CreateOpts {
			rest.Delete(o.Name)
		}
		for _, name := range m.driver.CreateTakes {
			rest.Delete(name)
		}
	}
	if err := createProtocol(ctx, m.env, proto, name, size, rest); err != nil {
		return nil, err
	}
	m.made = append(m.made, name)
	o := opener{env: m.env}
	n, err := o.open(ctx, place{role: asStorage, keeper: m.driver, filename: name, opts: qobj.NewDict(),
		flags: formats.ReadWrite | formats.Resize | formats.Unmap})
	if err == nil {
		m.open = append(m.open, n)
	}
	return n, err
}

func (m *maker) need(ctx context.Context, need formats.Need, a formats.CreateArgs) (*Node, error) {
	if need.Existing {
		name, err := ResolveBacking(a.Name, need.Name)
		if err != nil {
			return nil, err
		}
		n, err := Open(ctx, m.env, Request{Filename: name, Format: need.Format, Options: need.Options})
		if err == nil {
			m.open = append(m.open, n)
		}
		return n, err
	}
	proto, err := m.env.protocol(need.Name, true)
	if err != nil {
		return nil, err
	}
	return m.create(ctx, proto, need.Name, need.Size, a.Options)
}

func (m *maker) close() error {
	var first error
	for _, n := range m.open {
		if err := n.Close(); first == nil {
			first = err
		}
	}
	return first
}

// remove deletes what was made; that it cannot be deleted is no news beside the error that led here.
func (m *maker) remove(ctx context.Context) {
	for _, name := range m.made {
		if proto, err := m.env.protocol(name, true); err == nil && proto.Delete != nil {
			proto.Delete(ctx, formats.CreateArgs{Name: name, Env: m.env.Env})
		}
	}
}
