package vhdx

import (
	"math"
	"syscall"

	"platter/formats"
	"platter/formats/internal/parentpath"
	"platter/formats/option"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// createNeeds is the parent of a differencing image.
func createNeeds(a formats.CreateArgs) ([]formats.Need, error) {
	name := a.Options.String("backing_file", "")
	switch {
	case name == "":
		return nil, nil
	case a.Options.String("backing_fmt", "vhdx") != "vhdx":
		return nil, qerr.New(syscall.EINVAL, "backing_file must be a vhdx image")
	case a.Options.String("subformat", "dynamic") != "dynamic":
		return nil, qerr.New(syscall.ENOTSUP, "Only a dynamic image can have a backing file")
	}
	alone := qobj.NewDict()
	alone.Set("backing", nil)
	return []formats.Need{{Role: "backing", Name: name, Format: "vhdx", Existing: true, Options: alone}}, nil
}

// parentage is what a new differencing image takes from its parent.
type parentage struct {
	*metadata
	locator *locator
}

// parentageOf looks at the backing file of a creation, nil if there is none.
func parentageOf(a formats.CreateArgs) (*parentage, error) {
	file, ok := a.Children["backing"]
	if !ok {
		return nil, nil
	}
	d, ok := formats.As[*image](file)
	if !ok {
		return nil, qerr.New(syscall.EINVAL, "backing_file must be a vhdx image")
	}
	if a.Size != d.Size() {
		return nil, qerr.New(syscall.EINVAL, "A differencing image has the size of its backing file, which is %d bytes", d.Size())
	}
	relative, absolute, err := parentpath.Windows(a.Name, nameOf(d.file))
	if err != nil {
		return nil, err
	}
	l := &locator{map[string]string{"parent_linkage": "{" + d.dataGUID().String() + "}", "relative_path": relative}}
	if absolute != "" {
		l.values["absolute_win32_path"] = absolute
	}
	for k, v := range l.values {
		if len(k)+2*len(v) > math.MaxUint16 {
			return nil, qerr.New(syscall.ENAMETOOLONG, "The path of the backing file is too long")
		}
	}
	return &parentage{d.head, l}, nil
}

// nameOf is the file name of a node.
func nameOf(f formats.File) string {
	if n, ok := f.(interface{ Filename() string }); ok {
		return n.Filename()
	}
	return ""
}

// inherit takes size and sectors from the parent. Blocks are not present: zeroes would hide what the parent has.
func (l *layout) inherit(p *parentage, v *option.Values) error {
	if v.Has("block_state_zero") && l.zero {
		return qerr.New(syscall.EINVAL, "block_state_zero would hide the backing file")
	}
	l.zero, l.flags = false, flagParent
	l.size, l.logical, l.physical = p.size, p.logical, p.physical
	l.parent, l.locator = p.locator, p.locator.encode()
	return nil
}
