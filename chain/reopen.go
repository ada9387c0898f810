package chain

import (
	"context"
	"errors"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// Alone runs f while no request is in flight at this node, and gives it a view of the node through which it may read,
// write and change the backing file as usual. Commit and rebase move data on an image that others use: a write of
// theirs between reading and writing would be lost. The view ends with f.
func (n *Node) Alone(f func(view *Node) error) error {
	return n.Exclusive(func() error {
		v := &Node{drv: n.drv, img: n.img, flags: n.flags, name: n.name, nodeName: n.nodeName, given: n.given,
			children: n.children, storage: n.storage, override: n.override, probe: n.probe, zeroes: n.zeroes,
			origin: n.origin, writer: n.writer, recorder: n.recorder}
		v.backing.Store(n.Backing())
		v.failed.Store(n.failed.Load())
		v.writes.Store(n.writes.Load())
		v.flushed.Store(n.flushed.Load())
		defer func() {
			n.backing.Store(v.Backing())
			n.failed.Store(v.failed.Load())
		}()
		return f(v)
	})
}

// ReopenBacking opens the backing file anew for writing, or for reading only (commit writes to it). If that fails, or the
// image refuses the file so, it is opened as it was; should that fail as well, requests that need it fail, rather than see
// zeroes. If what was written to it cannot be completed, it is opened for reading, and the error returned.
func (n *Node) ReopenBacking(ctx context.Context, env *Env, writable bool) error {
	return n.Exclusive(func() error {
		backed, ok := n.img.(formats.Backed)
		old := n.Backing()
		if !ok || old == nil {
			return qerr.New(syscall.EINVAL, "Image does not have a backing file")
		}
		if old.ReadOnly() != writable {
			return nil
		}
		lost := old.Close() // it is closed in any case
		writable := writable && lost == nil
		grows := n.Size() > old.Size()
		b, err := old.again(ctx, env, writable, grows)
		if err != nil {
			// What was there before must come back even if the user is no longer interested.
			b, _ = old.again(context.WithoutCancel(ctx), env, !writable, grows)
		}
		if err = errors.Join(lost, err); b == nil {
			return err
		}
		if e := backed.SetBacking(b); e != nil {
			b.Close()
			if b, _ = old.again(context.WithoutCancel(ctx), env, !writable, grows); b == nil {
				return errors.Join(lost, e)
			}
			if backed.SetBacking(b) != nil {
				b.Close()
				return errors.Join(lost, e)
			}
			err = errors.Join(lost, e)
		}
		n.backing.Store(b)
		return err
	})
}

// again opens what n was opened from; what is to be written may be made longer if it grows.
func (n *Node) again(ctx context.Context, env *Env, writable, grows bool) (*Node, error) {
	p := n.origin
	if p.opts == nil {
		p.opts = qobj.NewDict() // a node that was wrapped, not opened
	}
	p.opts = p.opts.Clone()
	p.flags &^= formats.ReadWrite | formats.Resize | formats.KeepSize
	if writable {
		p.flags |= formats.ReadWrite | formats.KeepSize
		if grows {
			p.flags |= formats.Resize
		}
	}
	o := opener{env: env, again: true}
	return o.open(ctx, p)
}
