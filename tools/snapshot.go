package tools

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"time"

	"platter/chain"
	"platter/formats"
	"platter/formats/qerr"
)

// SnapshotAction is what to do with internal snapshots.
type SnapshotAction int

// The actions of snapshot.
const (
	SnapshotList SnapshotAction = iota
	SnapshotCreate
	SnapshotApply
	SnapshotDelete
)

// SnapshotOptions says what to do to which image.
type SnapshotOptions struct {
	Source
	Action SnapshotAction
	Name   string // of the snapshot; apply takes an ID, too
}

// maxSnapshotName is the longest name of a new snapshot, in bytes; QEMU cuts off what is longer.
const maxSnapshotName = 255

// Snapshot lists, takes, applies or deletes an internal snapshot. Only SnapshotList returns any.
func Snapshot(ctx context.Context, env *Env, o SnapshotOptions) (list []formats.Snapshot, err error) {
	flags := formats.ReadWrite | formats.Unmap
	if o.Action == SnapshotList {
		flags = formats.Unmap
	}
	n, err := o.Source.Open(ctx, env, flags)
	if err != nil {
		return nil, err
	}
	defer closing(env, n, &err)
	if o.Action == SnapshotList {
		// An image that cannot have snapshots, or whose snapshots cannot be read, has none to show.
		list, _ := Snapshots(ctx, n)
		return list, nil
	}
	if _, s := snapshotter(n); s == nil && o.Action == SnapshotApply {
		n.WarnGuessed(env) // stock looks for the snapshot below, and opens the image once more after that
	}
	if err := SnapshotNode(ctx, n, o.Action, o.Name); err != nil {
		return nil, err
	}
	return nil, n.Flush(ctx)
}

// Snapshots lists the internal snapshots of an open image. ENOTSUP: it cannot have any.
func Snapshots(ctx context.Context, n *chain.Node) ([]formats.Snapshot, error) {
	_, s := snapshotter(n)
	if s == nil {
		return nil, errNoSnapshots
	}
	return s.Snapshots(ctx)
}

var errNoSnapshots = qerr.New(syscall.ENOTSUP, "Block driver does not support snapshots")

// snapshotter finds the node that keeps the snapshots of n: n itself, or the one that n passes everything on to.
func snapshotter(n *chain.Node) (*chain.Node, formats.Snapshotter) {
	for n != nil {
		if s, ok := formats.As[formats.Snapshotter](n.Unwrap()); ok {
			return n, s
		}
		if len(n.Children()) != 1 || n.Backing() != nil {
			return nil, nil
		}
		n = n.File()
	}
	return nil, nil
}

// SnapshotNode takes, applies or deletes a snapshot of an open image.
func SnapshotNode(ctx context.Context, n *chain.Node, action SnapshotAction, name string) error {
	switch action {
	case SnapshotCreate:
		return createSnapshot(ctx, n, name)
	case SnapshotApply:
		return qerr.Prepend(applySnapshot(ctx, n, name), "Could not apply snapshot '%s': ", name)
	}
	return deleteSnapshot(ctx, n, name)
}

func createSnapshot(ctx context.Context, n *chain.Node, name string) error {
	keeper, s := snapshotter(n)
	err := error(syscall.ENOTSUP)
	if s != nil {
		now := time.Now()
		sn := formats.Snapshot{Name: name[:min(len(name), maxSnapshotName)], DiskSize: n.Size(),
			DateSec: uint32(now.Unix()), DateNsec: uint32(now.Nanosecond() / 1000 * 1000)}
		err = keeper.Exclusive(func() error {
			_, err := s.CreateSnapshot(ctx, sn)
			return err
		})
	}
	if err != nil {
		return qerr.Errno(qerr.Of(err), "Could not create snapshot '%s'", name)
	}
	return nil
}

func applySnapshot(ctx context.Context, n *chain.Node, name string) error {
	keeper, s := snapshotter(n)
	if s == nil {
		return errNoSnapshots
	}
	if b, ok := formats.As[formats.BitmapStore](keeper.Unwrap()); ok {
		list, err := b.Bitmaps(ctx)
		if err != nil {
			return err
		}
		if len(list) > 0 {
			return qerr.New(syscall.EBUSY, "Device has active dirty bitmaps")
		}
	}
	if err := keeper.Exclusive(func() error { return s.ApplySnapshot(ctx, name) }); err != nil {
		return qerr.Errno(qerr.Of(err), "Failed to load snapshot")
	}
	return nil
}

// deleteSnapshot removes the first snapshot of that name; IDs do not count here.
func deleteSnapshot(ctx context.Context, n *chain.Node, name string) error {
	keeper, s := snapshotter(n)
	var list []formats.Snapshot
	err := errors.ErrUnsupported
	if s != nil {
		list, err = s.Snapshots(ctx)
	}
	if err == nil {
		for _, sn := range list {
			if sn.Name == name {
				err := keeper.Exclusive(func() error { return s.DeleteSnapshot(ctx, sn.ID, sn.Name) })
				return qerr.Prepend(err, "Could not delete snapshot '%s': ", name)
			}
		}
	}
	return qerr.New(syscall.ENOENT, "Could not delete snapshot '%s': snapshot not found", name)
}

// RenameSnapshot gives the first snapshot of that name another one.
func RenameSnapshot(ctx context.Context, n *chain.Node, from, to string) error {
	keeper, s := snapshotter(n)
	r, ok := s.(formats.SnapshotRenamer)
	if !ok {
		return qerr.New(syscall.ENOTSUP, "snapshots of format '%s' cannot be renamed", n.Driver().Name)
	}
	list, err := s.Snapshots(ctx)
	if err != nil {
		return err
	}
	for _, sn := range list {
		if sn.Name == from {
			return keeper.Exclusive(func() error { return r.RenameSnapshot(ctx, sn.ID, sn.Name, to) })
		}
	}
	return qerr.New(syscall.ENOENT, "snapshot not found")
}

// DeleteNewSnapshots deletes the snapshots that are not in a list of former ones.
func DeleteNewSnapshots(ctx context.Context, n *chain.Node, before []formats.Snapshot) error {
	keeper, s := snapshotter(n)
	if s == nil {
		return errNoSnapshots
	}
	now, err := s.Snapshots(ctx)
	if err != nil {
		return err
	}
	for _, sn := range now {
		if slices.ContainsFunc(before, func(o formats.Snapshot) bool { return o.ID == sn.ID }) {
			continue
		}
		if err := keeper.Exclusive(func() error { return s.DeleteSnapshot(ctx, sn.ID, sn.Name) }); err != nil {
			return err
		}
	}
	return nil
}
