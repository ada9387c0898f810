package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"platter/chain"
	"platter/formats"
	"platter/formats/option"
	"platter/formats/qerr"
	"platter/tools"
)

// openOverlay makes a qcow2 overlay that takes all writes, so that the image stays as it is, unless somebody says "commit"
// in ctl, which is the way to keep what was tried, as with QEMU's -snapshot. Without a name it lies in the directory for
// temporary files, has no name there, and ends with the mount. A file that is there already is taken only if it is an
// overlay on this image.
func openOverlay(ctx context.Context, env *chain.Env, s tools.Source, name string, flags formats.OpenFlags) (*chain.Node, error) {
	if s.ImageOpts {
		return nil, qerr.New(syscall.EINVAL, "-o overlay needs the name of an image, not --image-opts")
	}
	base, err := s.Open(ctx, env, flags)
	if err != nil {
		return nil, err
	}
	under := layerUnder{name: s.Filename, format: base.Driver().Name, size: base.Size(), path: base.Filename(), files: filesOf(base)}
	if err := base.Close(); err != nil {
		return nil, err
	}
	temporary := name == ""
	if temporary {
		dir, err := os.MkdirTemp("", "platter-overlay")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		name = filepath.Join(dir, "overlay.qcow2")
	}
	_, err = os.Stat(name)
	switch {
	case temporary || errors.Is(err, os.ErrNotExist):
		if err := under.create(ctx, env, name); err != nil {
			return nil, qerr.Prepend(err, "%s: ", name)
		}
	default:
		if err := under.check(ctx, env, name); err != nil {
			return nil, qerr.Prepend(err, "Could not use '%s' as the overlay of '%s': ", name, s.Filename)
		}
	}
	own := *env
	own.Gate = chain.Gate{Refs: chain.RefsAny} // the reference is ours; it leads to the image that the user named
	return tools.Source{Filename: name, Format: "qcow2"}.Open(ctx, &own, flags|formats.ReadWrite|formats.Resize)
}

// layerUnder is an image that an overlay is put on.
type layerUnder struct {
	name   string // as the user gave it
	path   string // as it was opened
	format string
	size   int64
	files  []os.FileInfo // what it consists of, its backing chain included
}

// create makes a new overlay.
func (u layerUnder) create(ctx context.Context, env *chain.Env, name string) error {
	drv := env.Registry.Find("qcow2")
	if drv == nil || drv.Create == nil {
		return qerr.New(syscall.ENOTSUP, "an overlay needs the qcow2 driver")
	}
	schema, err := chain.CreateSchema(env, drv, name)
	if err != nil {
		return err
	}
	backing := u.path
	if _, err := os.Stat(backing); err == nil {
		if backing, err = filepath.Abs(backing); err != nil {
			return err
		}
	}
	v := &option.Values{}
	for _, o := range [][2]string{{"backing_file", backing}, {"backing_fmt", u.format}} {
		if err := v.Set(schema, o[0], o[1]); err != nil {
			return err
		}
	}
	return chain.Create(ctx, env, chain.CreateRequest{Filename: name, Driver: drv, Options: v, Size: u.size})
}

// check looks whether the file called name may take the writes: it is no part of the image, and an overlay on it. It is
// opened for reading only, without what is below it.
func (u layerUnder) check(ctx context.Context, env *chain.Env, name string) error {
	st, err := os.Stat(name)
	if err != nil {
		return err
	}
	const advice = "give the name of a new file, or of an overlay that was made on this image"
	if u.consistsOf(st) {
		return qerr.New(syscall.EINVAL, "it is that image, or a part of it, and would be written (%s)", advice)
	}
	n, err := tools.Source{Filename: name, Format: "qcow2"}.Open(ctx, env, formats.NoBacking)
	if err != nil {
		return qerr.New(syscall.EINVAL, "%s (%s)", strings.TrimPrefix(qerr.Text(err), "Could not open '"+name+"': "), advice)
	}
	defer n.Close()
	for _, f := range filesOf(n) {
		if u.consistsOf(f) {
			return qerr.New(syscall.EINVAL, "its data file is a part of that image, and would be written (%s)", advice)
		}
	}
	backing, err := n.FullBackingName()
	switch {
	case err != nil:
		return err
	case backing == "":
		return qerr.New(syscall.EINVAL, "it has no backing file (%s)", advice)
	case !u.is(backing):
		return qerr.New(syscall.EINVAL, "it is based on '%s' (%s)", backing, advice)
	}
	if b, ok := formats.As[formats.Backed](n.Unwrap()); ok {
		if _, format := b.BackingFile(); format != "" && format != u.format {
			return qerr.New(syscall.EINVAL, "it is based on that image as format %s, not %s (say which is right with -o format=)", format, u.format)
		}
	}
	return nil
}

// is reports whether a name leads to the image.
func (u layerUnder) is(backing string) bool {
	if backing == u.path {
		return true
	}
	a, err := os.Stat(strings.TrimPrefix(backing, "file:"))
	b, err2 := os.Stat(strings.TrimPrefix(u.path, "file:"))
	return err == nil && err2 == nil && sameFile(a, b)
}

func (u layerUnder) consistsOf(st os.FileInfo) bool {
	for _, f := range u.files {
		if sameFile(f, st) {
			return true
		}
	}
	return false
}

// sameFile is os.SameFile, except that a block device may have several names.
func sameFile(a, b os.FileInfo) bool {
	x, ok := a.Sys().(*syscall.Stat_t)
	y, ok2 := b.Sys().(*syscall.Stat_t)
	if ok && ok2 && x.Mode&syscall.S_IFMT == syscall.S_IFBLK && y.Mode&syscall.S_IFMT == syscall.S_IFBLK {
		return x.Rdev == y.Rdev
	}
	return os.SameFile(a, b)
}

// filesOf lists the files and devices of this machine that a graph of images consists of.
func filesOf(n *chain.Node) []os.FileInfo {
	var list []os.FileInfo
	if _, ok := formats.As[formats.HostFile](n.Unwrap()); ok {
		if st, err := os.Stat(n.Filename()); err == nil {
			list = append(list, st)
		}
	}
	for _, c := range n.Children() {
		list = append(list, filesOf(c.Node)...)
	}
	return list
}
