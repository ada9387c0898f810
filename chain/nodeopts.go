package chain

import (
	"os"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// common are the runtime options that every node has.
type common struct {
	driver, nodeName string
	flags            formats.OpenFlags
	zeroes           detectZeroes
}

// takeCommon removes the options that every node has from d and works them into flags.
func takeCommon(d *qobj.Dict, flags formats.OpenFlags) (common, error) {
	c := common{flags: flags}
	c.driver, _ = takeString(d, "driver")
	c.nodeName, _ = takeString(d, "node-name")
	for _, b := range []struct {
		key  string
		flag formats.OpenFlags
		not  bool
	}{
		{"read-only", formats.ReadWrite, true},
		{"auto-read-only", formats.AutoReadOnly, false},
		{"cache.direct", formats.Direct, false},
		{"cache.no-flush", formats.NoFlush, false},
		{"force-share", formats.ForceShare, false},
	} {
		on, given, err := takeBool(d, b.key)
		if err != nil {
			return c, err
		}
		if given {
			c.flags &^= b.flag
			if on != b.not {
				c.flags |= b.flag
			}
		}
	}
	if s, ok := takeString(d, "discard"); ok {
		switch s {
		case "off", "ignore":
			c.flags &^= formats.Unmap
		case "on", "unmap":
			c.flags |= formats.Unmap
		default:
			return c, qerr.New(syscall.EINVAL, "Invalid discard option")
		}
	}
	if c.flags.Has(formats.ForceShare | formats.ReadWrite) {
		return c, qerr.New(syscall.EINVAL, "force-share=on can only be used with read-only images")
	}
	return c, takeZeroes(d, &c)
}

func takeZeroes(d *qobj.Dict, c *common) error {
	s, ok := takeString(d, "detect-zeroes")
	if !ok {
		return nil
	}
	modes := map[string]detectZeroes{"off": detectOff, "on": detectOn, "unmap": detectUnmap}
	m, ok := modes[s]
	if !ok {
		return qerr.New(syscall.EINVAL, "invalid parameter value: %s", s)
	}
	if m == detectUnmap && !c.flags.Has(formats.Unmap) {
		return qerr.New(syscall.EINVAL, "setting detect-zeroes to unmap is not allowed without setting discard operation to unmap")
	}
	c.zeroes = m
	return nil
}

func takeString(d *qobj.Dict, key string) (string, bool) {
	s, ok := d.String(key)
	if ok {
		d.Delete(key)
	}
	return s, ok
}

func takeBool(d *qobj.Dict, key string) (on, given bool, err error) {
	v, ok := d.Get(key)
	if !ok {
		return false, false, nil
	}
	d.Delete(key)
	switch v {
	case true, "on", "yes", "true", "y":
		return true, true, nil
	case false, "off", "no", "false", "n":
		return false, true, nil
	}
	return false, false, qerr.New(syscall.EINVAL, "Parameter '%s' expects 'on' or 'off'", key)
}

// perms are the permissions with which a protocol is opened for its parent: a format's metadata must not change under
// it, a raw image passes on what its user allows, and that is everything.
func perms(p place) (perm, shared formats.Perm) {
	if p.late {
		return 0, formats.PermAll
	}
	if !p.flags.Has(formats.NoIO) {
		perm = formats.PermConsistentRead
	}
	if p.flags.Has(formats.ReadWrite) {
		perm |= formats.PermWrite
		if p.flags.Has(formats.Resize) || p.keeper != nil {
			perm |= formats.PermResize
		}
	}
	shared = formats.PermAll
	if (p.keeper != nil || p.flags.Has(formats.OneWriter)) && !p.flags.Has(formats.ForceShare) {
		shared &^= formats.PermWrite | formats.PermResize
	}
	if p.flags.Has(formats.KeepSize) {
		shared &^= formats.PermResize
	}
	return perm | p.use.Take, shared &^ p.use.Unshare
}

// keeperOf is the format whose metadata is in the storage of a node with driver drv: that format itself; raw and filters
// pass on what they are used for.
func keeperOf(p place, drv *formats.Driver) *formats.Driver {
	switch {
	case drv != nil && drv.Kind == formats.Format && !drv.RawCreate:
		return drv
	case p.role == asStorage:
		return p.keeper
	}
	return nil
}

// settle takes the locks of a storage that was opened before its format, drv, was known.
func settle(storage *Node, drv *formats.Driver) error {
	p := place{role: asStorage, keeper: keeperOf(place{}, drv)}
	for f := storage; f != nil; f = f.File() {
		if f.drv.Kind != formats.Protocol {
			p.keeper = keeperOf(p, f.drv)
			continue
		}
		p.flags, p.use = f.flags, f.origin.use
		perm, shared := perms(p)
		if l, ok := f.img.(formats.Locker); ok {
			if err := l.Lock(perm, shared); err != nil {
				return err
			}
		}
		return f.mayWrite(perm)
	}
	return nil
}

// mayWrite refuses to write to what ends within one of its blocks, unless it may be made longer.
func (n *Node) mayWrite(perm formats.Perm) error {
	if perm&formats.PermWrite == 0 || perm&formats.PermResize != 0 || n.Size()%n.Limits().Align == 0 {
		return nil
	}
	return qerr.New(syscall.EINVAL, "Cannot get 'write' permission without 'resize': Image size is not a multiple of request alignment")
}

// hostDriver tells a device from a file.
func hostDriver(name string) string {
	if st, err := os.Stat(name); err == nil && st.Mode()&os.ModeDevice != 0 {
		return "host_device"
	}
	return "file"
}
