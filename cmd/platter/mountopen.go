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
