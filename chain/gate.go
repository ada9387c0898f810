package chain

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"platter/formats/qerr"
)

// Refs says what an image may make the program open by naming it: its backing file, data file, extents.
type Refs uint8

// The policies, from the most to the least permissive.
const (
	RefsAny     Refs = iota // whatever QEMU opens: any protocol, json:
	RefsFile                // regular files and block devices, anywhere; the parts of an image as RefsSameDir
	RefsSameDir             // regular files in the directory of the image that names them, or below it
	RefsNone                // nothing
)

// Gate decides about references. The zero Gate lets everything pass, as qemu-img does.
type Gate struct{ Refs Refs }

// MaxDepth bounds the nodes from the first image to the last; QEMU fails from lack of stack somewhere above it.
const MaxDepth = 1024

// part decides about a file that an image consists of: an extent. Whoever makes images has no reason to put one elsewhere
// than beside the image, and one that is elsewhere would be opened for writing, a system's own files among them.
func (g Gate) part(from, name string) error {
	if g.Refs == RefsFile {
		g.Refs = RefsSameDir
	}
	return g.decide(from, name, "any")
}

// check decides whether the image called from may make the program open name, which is already resolved.
func (g Gate) check(from, name string) error { return g.decide(from, name, "file") }

// decide is check; elsewhere is the policy that lets files in other directories be opened.
func (g Gate) decide(from, name, elsewhere string) error {
	if g.Refs == RefsAny {
		return nil
	}
	refuse := func(why string) error {
		return qerr.New(syscall.EPERM, "'%s' refers to '%s', which is not allowed: %s", from, name, why)
	}
	if g.Refs == RefsNone {
		return refuse("references are off (refs=none)")
	}
	if hasProtocol(name) {
		return refuse("only files may be referred to (refs=any allows more)")
	}
	if st, err := os.Stat(name); err == nil && !st.Mode().IsRegular() && st.Mode()&os.ModeType != os.ModeDevice {
		return refuse("it is not a regular file")
	}
	if g.Refs == RefsFile {
		return nil
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(from))
	if err != nil {
		return refuse(qerr.Text(err))
	}
	real, err := filepath.EvalSymlinks(name)
	if err != nil {
		return refuse(qerr.Text(err))
	}
	dir, _ = filepath.Abs(dir)
	real, _ = filepath.Abs(real)
	if !strings.HasPrefix(real, strings.TrimSuffix(dir, "/")+"/") {
		return refuse("it lies outside the image's directory (refs=" + elsewhere + " allows more)")
	}
	return nil
}
