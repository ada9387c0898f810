package tools

import (
	"context"
	"syscall"

	"platter/chain"
	"platter/formats"
	"platter/formats/qerr"
)

// openSnapshot gives a read-only view of an internal snapshot of n. Closing it leaves n open. The view has the size that
// the disk had then; to a program that expects qemu-img it is as large as n is now, which cuts off what a disk that was
// shrunk since had at its end.
func openSnapshot(ctx context.Context, env *Env, n *chain.Node, p SnapshotParam) (*chain.Node, error) {
	for n.Filtered() != nil {
		n = n.Filtered()
	}
	s, ok := formats.As[formats.Snapshotter](n.Unwrap())
	if !ok {
		return nil, qerr.New(syscall.ENOTSUP, "Block format '%s' used by device '' does not support temporarily loading internal snapshots",
			n.Driver().Name)
	}
	open := func(id, name string) (*chain.Node, error) {
		img, err := s.OpenSnapshot(ctx, id, name)
		if err != nil {
			return nil, err
		}
		if v, ok := img.(formats.StretchableView); ok && !env.Beyond {
			v.Stretch(n.Size())
		}
		return n.View(img), nil
	}
	if !p.Exact {
		view, err := open(p.IDOrName, "")
		if err != nil && qerr.Of(err) == syscall.EINVAL || qerr.Of(err) == syscall.ENOENT {
			view, err = open("", p.IDOrName)
		}
		return view, err
	}
	if p.ID == nil && p.Name == nil {
		return nil, qerr.New(syscall.EINVAL, "snapshot_id and name are both NULL")
	}
	return open(orEmpty(p.ID), orEmpty(p.Name))
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
