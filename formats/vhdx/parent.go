package vhdx

import (
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

// BackingFile gives the parent that the locator names.
func (d *image) BackingFile() (name, format string) {
	if d.head.parent == nil {
		return "", ""
	}
	return d.head.parent.name(), "vhdx"
}

// dataGUID is the GUID that changes whenever the disk's content may have (DataWriteGuid).
func (d *image) dataGUID() guid { return d.heads.now().dataGUID() }

// SetBacking attaches the parent if its data is what this image was made on top of. A parent that can be written is
// refused: after its first write this image would not fit it.
func (d *image) SetBacking(f formats.File) error {
	if f == nil {
		d.parent = nil
		return nil
	}
	if d.head.parent == nil {
		return qerr.New(syscall.EINVAL, "Driver doesn't support backing files")
	}
	p, ok := formats.As[*image](f)
	if !ok {
		return qerr.New(syscall.EINVAL, "VHDX parent is no VHDX image")
	}
	if p.writable {
		return qerr.New(syscall.ENOTSUP, "A VHDX differencing image cannot be committed: "+
			"its parent's data GUID would change, and the image could not be opened any more")
	}
	if g := p.dataGUID(); !d.head.parent.links(g) {
		return qerr.New(syscall.EINVAL, "VHDX parent has been changed: its data GUID is %s, not %s", g,
			d.head.parent.values["parent_linkage"])
	}
	d.parent = f
	return nil
}
