package fusefs

import (
	"context"
	"errors"
	"syscall"

	"platter/chain"
	"platter/formats/qerr"
	"platter/tools"
)

// A batch is all or nothing. Where several lines change the image they are attempted one after the other while no other
// request runs, and when one fails the earlier ones are taken back in reverse order; readers and writers of the disk
// see either none or all of it. What cannot be taken back has to be a batch of its own: it is refused beside other
// changes before anything is done. A process that dies within a batch leaves what was done until then.

// changes counts what lines do to the image.
func changesOf(orders []order) int {
	n := 0
	for _, o := range orders {
		if !o.Reads {
			n += max(o.Steps, 1)
		}
	}
	return n
}

// loose reports whether a batch could stop halfway if its commands were just run: with several changes, or a line after
// one that can fail. A flush does not count, for each batch ends with one.
func loose(orders []order) bool {
	changes := changesOf(orders)
	if changes > 1 {
		return true
	}
	for i := len(orders) - 1; i >= 0 && changes == 1; i-- {
		if !orders[i].Reads {
			return false
		}
		if !orders[i].flushes {
			return true
		}
	}
	return false
}

// whole refuses a batch that could stop halfway.
func whole(orders []order) error {
	if !loose(orders) {
		return nil
	}
	for _, o := range orders {
		if !o.Reads && o.Attempt == nil {
			return qerr.New(syscall.EINVAL, "'%s' cannot be taken back should another line fail: write it to ctl alone", brief(o.line))
		}
	}
	return nil
}

// do runs a batch, and tells the kernel that anything may have changed.
func (c *control) do(ctx context.Context, orders []order) error {
	img, changes := c.img, changesOf(orders)
	if changes > 0 {
		img.notifier.collect(img)
	}
	for i := range orders {
		if err := img.kept.free(orders[i].Deletes); err != nil {
			return img.failed(brief(orders[i].line), 0, 0, err)
		}
	}
	img.control.Lock()
	defer img.control.Unlock()
	err := img.node.Flush(ctx)
	for _, o := range orders {
		if err == nil {
			err = img.kept.release(o.Deletes)
		}
	}
	var failed *order
	if err == nil && loose(orders) {
		err = img.node.Alone(func(n *chain.Node) error { return c.attempt(ctx, n, orders, &failed) })
	} else if err == nil {
		for i := range orders {
			if err = c.run(ctx, &orders[i], img.node); err != nil {
				failed = &orders[i]
				break
			}
		}
	}
	if changes > 0 {
		err = errors.Join(err, img.node.Flush(context.WithoutCancel(ctx)))
		img.replaced()
		img.notifier.wait()
	}
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) || qerr.Of(err) == syscall.EINTR {
		err = qerr.New(syscall.EINTR, "cancelled")
	}
	if failed == nil {
		return img.failed("a batch of commands", 0, 0, err)
	}
	return img.failed(brief(failed.line), 0, 0, err)
}

// attempt runs the orders on a node that is ours alone, and takes all back if one fails.
func (c *control) attempt(ctx context.Context, n *chain.Node, orders []order, failed **order) (err error) {
	var done []func(context.Context, bool) error
	for i := range orders {
		o := &orders[i]
		if o.Reads {
			err = c.run(ctx, o, n)
		} else {
			var settle func(context.Context, bool) error
			inner, _, end := c.begin(ctx, o)
			if settle, err = o.Attempt(inner, n, c.img.quiet()); err == nil {
				done = append(done, settle)
				err = inner.Err()
			}
			end()
		}
		if err != nil {
			*failed = o
			break
		}
	}
	keep := err == nil
	for i := range done {
		if !keep {
			i = len(done) - 1 - i
		}
		err = errors.Join(err, done[i](context.WithoutCancel(ctx), keep))
	}
	return err
}

// run runs one command.
func (c *control) run(ctx context.Context, o *order, n *chain.Node) error {
	ctx, meter, end := c.begin(ctx, o)
	defer end()
	return o.Run(ctx, n, c.img.quiet(), meter)
}

// quiet is the image's environment with its words written to error_log.
func (img *image) quiet() *chain.Env {
	env := *img.env
	own := *env.Env
	own.Warn, own.Report = img.log.add, img.log.add
	env.Env = &own
	return &env
}

// begin shows a command in stats.json, where it can be cancelled, until end is called.
func (c *control) begin(ctx context.Context, o *order) (context.Context, *tools.Meter, func()) {
	ctx, cancel := context.WithCancel(ctx)
	j := &job{command: o.line, cancel: cancel}
	c.img.stats.job.Store(j)
	return ctx, &tools.Meter{Show: func(p float32) { j.percent.Store(uint64(p * 100)) }}, func() {
		c.img.stats.job.Store(nil)
		cancel()
	}
}
