package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"platter/chain"
	"platter/formats"
	"platter/formats/qerr"
	"platter/tools"
)

// settle ends what was attempted: it stays, or everything becomes what it was.
type settle = func(ctx context.Context, keep bool) error

// unless makes a settle of what takes something back.
func unless(undo func(ctx context.Context) error) settle {
	return func(ctx context.Context, keep bool) error {
		if keep {
			return nil
		}
		return undo(ctx)
	}
}

// asideName is the name that something has between its deletion in a batch and the end of the batch. A process that
// dies then leaves it.
func asideName(taken func(name string) bool) string {
	for i := 0; ; i++ {
		if name := fmt.Sprintf("deleted-by-ctl-%d", i); !taken(name) {
			return name
		}
	}
}

// attempt takes, applies or deletes a snapshot so that it can be taken back.
func (a *snapshotArgs) attempt(ctx context.Context, n *chain.Node, _ *chain.Env) (settle, error) {
	before, err := tools.Snapshots(ctx, n)
	if err != nil {
		return nil, err
	}
	aside := asideName(func(name string) bool {
		return slices.ContainsFunc(before, func(s formats.Snapshot) bool { return s.Name == name || s.ID == name })
	})
	switch snapshotActions[a.Action] {
	case tools.SnapshotCreate:
		if err := tools.SnapshotNode(ctx, n, tools.SnapshotCreate, a.Snapshot); err != nil {
			return nil, err
		}
		return unless(func(ctx context.Context) error { return tools.DeleteNewSnapshots(ctx, n, before) }), nil
	case tools.SnapshotApply:
		if err := tools.SnapshotNode(ctx, n, tools.SnapshotCreate, aside); err != nil {
			return nil, err
		}
		drop := func(ctx context.Context) error { return tools.SnapshotNode(ctx, n, tools.SnapshotDelete, aside) }
		if err := tools.SnapshotNode(ctx, n, tools.SnapshotApply, a.Snapshot); err != nil {
			return nil, errors.Join(err, drop(context.WithoutCancel(ctx)))
		}
		return func(ctx context.Context, keep bool) error {
			if !keep {
				if err := tools.SnapshotNode(ctx, n, tools.SnapshotApply, aside); err != nil {
					return err
				}
			}
			return drop(ctx)
		}, nil
	}
	if err := tools.RenameSnapshot(ctx, n, a.Snapshot, aside); err != nil {
		return nil, qerr.Prepend(err, "Could not delete snapshot '%s': ", a.Snapshot)
	}
	return func(ctx context.Context, keep bool) error {
		if keep {
			return tools.SnapshotNode(ctx, n, tools.SnapshotDelete, aside)
		}
		return tools.RenameSnapshot(ctx, n, aside, a.Snapshot)
	}, nil
}

// attemptResize grows an image so that it can be taken back; what shrinks cannot be.
func attemptResize(o tools.ResizeOptions) func(context.Context, *chain.Node, *chain.Env) (settle, error) {
	if o.Shrink {
		return nil
	}
	return func(ctx context.Context, n *chain.Node, env *chain.Env) (settle, error) {
		before := n.Size()
		if _, ok := formats.As[formats.Grower](n.Unwrap()); ok {
			return nil, qerr.New(syscall.EINVAL, "the size of format '%s' cannot be taken back should another line fail: write it to ctl alone",
				n.Driver().Name)
		}
		if err := tools.ResizeNode(ctx, env, n, o); err != nil {
			return nil, err
		}
		return unless(func(ctx context.Context) error { return n.Truncate(ctx, before, formats.PreallocOff) }), nil
	}
}

// attempt does the steps of a bitmap command so that they can be taken back.
func (a *bitmapArgs) attempt(ctx context.Context, n *chain.Node, env *chain.Env) (settle, error) {
	var done []settle
	end := func(ctx context.Context, keep bool) (err error) {
		for i := range done {
			if !keep {
				i = len(done) - 1 - i
			}
			err = errors.Join(err, done[i](ctx, keep))
		}
		return err
	}
	err := a.withSource(ctx, n, env, func(src *chain.Node) error {
		for _, step := range a.Actions {
			s, err := attemptStep(ctx, n, src, a.Bitmap, step, a.Granularity)
			if err != nil {
				return qerr.Prepend(err, "Operation %s on bitmap %s failed: ", step.Action, a.Bitmap)
			}
			done = append(done, s)
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, end(context.WithoutCancel(ctx), false))
	}
	return end, nil
}

// attemptStep does one step. Nothing is written to the disk meanwhile, so a bitmap that is stopped misses nothing.
func attemptStep(ctx context.Context, n, src *chain.Node, name string, step tools.BitmapAction, granularity int64) (settle, error) {
	s, ok := formats.As[formats.BitmapStore](n.Unwrap())
	if !ok || step.Action == "add" {
		err := tools.BitmapNode(ctx, n, src, name, step, granularity)
		return unless(func(ctx context.Context) error {
			return tools.BitmapNode(ctx, n, n, name, tools.BitmapAction{Action: "remove"}, 0)
		}), err
	}
	all, err := s.Bitmaps(ctx)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(all, func(b formats.BitmapInfo) bool { return b.Name == name })
	if at < 0 {
		return nil, qerr.New(syscall.ENOENT, "Dirty bitmap '%s' not found", name)
	}
	switch step.Action {
	case "remove":
		aside := asideName(func(name string) bool {
			return slices.ContainsFunc(all, func(b formats.BitmapInfo) bool { return b.Name == name })
		})
		rename := func(from, to string) error {
			return n.Exclusive(func() error { return s.RenameBitmap(ctx, from, to) })
		}
		return func(ctx context.Context, keep bool) error {
			if !keep {
				return rename(aside, name)
			}
			return n.Exclusive(func() error { return s.RemoveBitmap(ctx, aside) })
		}, rename(name, aside)
	case "enable", "disable":
		return unless(func(ctx context.Context) error {
			return n.Exclusive(func() error { return s.EnableBitmap(ctx, name, all[at].Enabled) })
		}), tools.BitmapNode(ctx, n, src, name, step, granularity)
	}
	bits, err := s.Bitmap(ctx, name)
	if err != nil {
		return nil, err
	}
	return unless(func(ctx context.Context) error {
		return n.Exclusive(func() error { return errors.Join(s.ClearBitmap(ctx, name), s.MergeBitmap(ctx, name, bits)) })
	}), tools.BitmapNode(ctx, n, src, name, step, granularity)
}
