package tools

import (
	"context"
	"syscall"

	"platter/chain"
	"platter/formats"
	"platter/formats/qerr"
)

// openSnapshot gives a read-only view of an internal snapshot of n, which is as large as n is now, as with qemu-img.
// Closing it leaves n open.
func openSnapshot(ctx context.Context, n *chain.Node, p SnapshotParam) (*chain.Node, error) {
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
		if v, ok := img.(formats.StretchableView); ok {
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
