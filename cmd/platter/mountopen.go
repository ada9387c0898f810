package main

import (
	"context"
	"errors"
	"strings"
	"syscall"

	"platter/chain"
	"platter/formats"
	"platter/formats/crypt"
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
	if err == nil && flags.Has(formats.ReadWrite) && onlyCompressed(ctx, n) {
		err = errors.Join(n.Close(), errOnlyCompressed)
	}
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

// onlyCompressed reports whether an image takes whole clusters only, each once, as streamOptimized ones do: no file
// system could be written to it.
func onlyCompressed(ctx context.Context, n *chain.Node) bool {
	d, ok := formats.As[formats.Describer](n.Unwrap())
	if !ok {
		return false
	}
	info, err := d.Info(ctx)
	return err == nil && info.OnlyCompressed
}

var errOnlyCompressed = qerr.New(syscall.EROFS, "what it holds is compressed and cannot be written again; "+
	"-o overlay takes writes, platter convert makes an image that does")

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

// Check is that of the image, as the verb does it: a snapshot shares its clusters with the rest.
func (s snapshotOnly) Check(ctx context.Context, fix formats.FixMode, env *formats.Env) (r formats.CheckResult, err error) {
	c, ok := formats.As[formats.Checker](s.whole.Unwrap())
	if !ok {
		return r, syscall.ENOTSUP
	}
	err = s.whole.Exclusive(func() error {
		r, err = c.Check(ctx, fix, env)
		return err
	})
	return r, err
}

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
