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
	"platter/formats/crypt"
	"platter/formats/option"
	"platter/formats/qerr"
	"platter/tools"
)

// openForMount opens an image as the mount options want it: itself, one of its snapshots, or an overlay on it.
func openForMount(ctx context.Context, env *chain.Env, s tools.Source, o *mountOptions) (*chain.Node, error) {
	flags := formats.Unmap | formats.OneWriter
	if o.overlay {
		return openOverlay(ctx, env, s, o.scratch, flags)
	}
	if !o.config.ReadOnly {
		flags |= formats.ReadWrite | formats.Resize
	}
	n, err := s.Open(ctx, env, flags)
	if err != nil && flags.Has(formats.ReadWrite) && protected(err) {
		n, err = openProtected(ctx, env, s, err)
	}
	if err != nil || o.snapshot == "" {
		return n, err
	}
	view, err := openSnapshotView(ctx, n, o.snapshot)
	if err != nil {
		n.Close()
		return nil, qerr.Prepend(err, "Could not open snapshot '%s' of '%s': ", o.snapshot, s.Filename)
	}
	return view, nil
}

// protected reports whether an image could not be opened for writing because nobody may write it, or not this user, or
// because its format cannot be written.
func protected(err error) bool {
	return !errors.Is(err, crypt.ErrPassphrase) && (errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EPERM))
}

// openProtected opens for reading what cannot be written, and says so, as mount(8) does with devices.
func openProtected(ctx context.Context, env *chain.Env, s tools.Source, why error) (*chain.Node, error) {
	n, err := s.Open(ctx, env, formats.Unmap|formats.OneWriter)
	if err != nil {
		return nil, err
	}
	reason, prefix := qerr.Text(why), "Could not open '"+s.Filename+"': "
	for strings.HasPrefix(reason, prefix) {
		reason = reason[len(prefix):]
	}
	env.Warn("'%s' cannot be written and is mounted read-only: %s", s.Filename, reason)
	return n, nil
}

// snapshotOnly is a view of a snapshot that closes the image with itself.
type snapshotOnly struct {
	formats.Image
	whole *chain.Node
}

// Close closes the view, then the image.
func (s snapshotOnly) Close() error { return errors.Join(s.Image.Close(), s.whole.Close()) }

// Unwrap lets capabilities of the view be found.
func (s snapshotOnly) Unwrap() formats.Image { return s.Image }

func openSnapshotView(ctx context.Context, n *chain.Node, name string) (*chain.Node, error) {
	s, ok := formats.As[formats.Snapshotter](n.Unwrap())
	if !ok {
		return nil, qerr.New(syscall.ENOTSUP, "format '%s' has no internal snapshots", n.Driver().Name)
	}
	view, err := s.OpenSnapshot(ctx, "", name)
	if err != nil {
		if view, err = s.OpenSnapshot(ctx, name, ""); err != nil {
			return nil, err
		}
	}
	return n.View(snapshotOnly{view, n}), nil
}

// openOverlay makes a qcow2 overlay that takes all writes, so that the image stays as it is. Without a name it lies in
// the directory for temporary files, has no name there, and ends with the mount.
func openOverlay(ctx context.Context, env *chain.Env, s tools.Source, name string, flags formats.OpenFlags) (*chain.Node, error) {
	if s.ImageOpts {
		return nil, qerr.New(syscall.EINVAL, "-o overlay needs the name of an image, not --image-opts")
	}
	base, err := s.Open(ctx, env, flags)
	if err != nil {
		return nil, err
	}
	format, size := base.Driver().Name, base.Size()
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
	if _, err := os.Stat(name); temporary || errors.Is(err, os.ErrNotExist) {
		if err := createOverlay(ctx, env, name, s.Filename, format, size); err != nil {
			return nil, qerr.Prepend(err, "%s: ", name)
		}
	}
	own := *env
	own.Gate = chain.Gate{Refs: chain.RefsAny} // the reference is ours; it leads to the image that the user named
	return tools.Source{Filename: name, Format: "qcow2"}.Open(ctx, &own, flags|formats.ReadWrite|formats.Resize)
}

func createOverlay(ctx context.Context, env *chain.Env, name, backing, format string, size int64) error {
	drv := env.Registry.Find("qcow2")
	if drv == nil || drv.Create == nil {
		return qerr.New(syscall.ENOTSUP, "an overlay needs the qcow2 driver")
	}
	schema, err := chain.CreateSchema(env, drv, name)
	if err != nil {
		return err
	}
	abs, err := filepath.Abs(backing)
	if err != nil {
		return err
	}
	v := &option.Values{}
	for _, o := range [][2]string{{"backing_file", abs}, {"backing_fmt", format}} {
		if err := v.Set(schema, o[0], o[1]); err != nil {
			return err
		}
	}
	return chain.Create(ctx, env, chain.CreateRequest{Filename: name, Driver: drv, Options: v, Size: size})
}
