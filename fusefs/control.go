package fusefs

import (
	"context"
	"errors"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"platter/chain"
	"platter/formats/qerr"
	"platter/tools"
)

// Command is a line of ctl that has been understood.
type Command struct {
	// Run does it. The image is the one that the line was written for, flushed before and after.
	Run func(ctx context.Context, n *chain.Node, env *chain.Env, m *tools.Meter) error
	// Deletes is the name of the snapshot that the command deletes, which must not be open; "" if none.
	Deletes string
	// Reads: the command changes nothing, and can be given on a read-only mount.
	Reads bool
}

// Interpreter understands the words of a line. The error's text says what is wrong.
type Interpreter func(words []string) (Command, error)

// control is the file ctl. Each write is a batch of commands, one a line; none is begun unless all are understood, and
// the first that fails ends the batch. "flush" flushes; "cancel" ends the command that runs.
type control struct {
	img       *image
	interpret Interpreter
}

func (c *control) attr(a *fuse.Attr) error {
	a.Mode = syscall.S_IFREG | 0o200
	return nil
}

func (c *control) truncate(int64) error { return nil }

func (c *control) open(uint32) (handle, uint32, error) {
	return &controlHandle{c}, fuse.FOPEN_DIRECT_IO | fuse.FOPEN_NONSEEKABLE, nil
}

type controlHandle struct{ c *control }

func (h *controlHandle) read([]byte, int64) (int, error) { return 0, syscall.EACCES }
func (h *controlHandle) release()                        {}

// order is a command with the line that it came from.
type order struct {
	line string
	Command
}

// command runs a batch.
func (h *controlHandle) command(cancel <-chan struct{}, batch string) error {
	c := h.c
	orders, err := c.understand(batch)
	if err != nil {
		return err
	}
	ctx, stop := interruptible(cancel)
	defer stop()
	for _, o := range orders {
		if err := c.run(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// understand reads all lines before anything is done.
func (c *control) understand(batch string) ([]order, error) {
	var orders []order
	for _, line := range strings.Split(batch, "\n") {
		words, err := splitWords(line)
		if err == nil && len(words) == 0 {
			continue
		}
		var o Command
		if err == nil {
			o, err = c.command(words)
		}
		if err == nil && c.img.readOnly && !o.Reads {
			err = syscall.EROFS
		}
		if err != nil {
			c.img.stats.errors.Add(1)
			c.img.log.add("%s: %s", line, qerr.Text(err))
			return nil, err
		}
		orders = append(orders, order{line, o})
	}
	return orders, nil
}

func (c *control) command(words []string) (Command, error) {
	switch {
	case len(words) == 1 && words[0] == "flush":
		return Command{Reads: true, Run: func(context.Context, *chain.Node, *chain.Env, *tools.Meter) error {
			return c.img.flush()
		}}, nil
	case len(words) == 1 && words[0] == "cancel":
		if j := c.img.stats.job.Load(); j != nil {
			j.cancel()
		}
		return Command{Reads: true}, nil
	case c.interpret == nil:
		return Command{}, syscall.EOPNOTSUPP
	}
	return c.interpret(words)
}

// run runs one command, and tells the kernel that anything may have changed.
func (c *control) run(ctx context.Context, o order) error {
	if o.Run == nil {
		return nil
	}
	img := c.img
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	img.control.Lock()
	defer img.control.Unlock()
	j := &job{command: o.line, cancel: cancel}
	img.stats.job.Store(j)
	defer img.stats.job.Store(nil)
	err := img.kept.release(o.Deletes)
	if err == nil {
		err = img.node.Flush(ctx)
	}
	if err == nil {
		env := *img.env
		own := *env.Env
		own.Warn, own.Report = img.log.add, img.log.add
		env.Env = &own
		err = o.Run(ctx, img.node, &env, &tools.Meter{Show: func(p float32) { j.percent.Store(uint64(p * 100)) }})
	}
	if !o.Reads {
		err = errors.Join(err, img.node.Flush(context.WithoutCancel(ctx)))
		img.replaced()
		img.notifier.wait()
	}
	if err != nil {
		img.stats.errors.Add(1)
		img.log.add("%s: %s", o.line, qerr.Text(err))
	}
	return err
}

// splitWords splits a line as a shell does: blanks separate, quotes and the backslash keep them.
func splitWords(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	in, quote := false, byte(0)
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case c == '\\' && quote != '\'' && i+1 < len(line):
			i++
			word.WriteByte(line[i])
			in = true
		case quote == 0 && (c == '\'' || c == '"'):
			quote, in = c, true
		case quote == 0 && (c == ' ' || c == '\t' || c == '\r'):
			if in {
				words = append(words, word.String())
			}
			word.Reset()
			in = false
		default:
			word.WriteByte(c)
			in = true
		}
	}
	if quote != 0 {
		return nil, qerr.New(syscall.EINVAL, "a quote is not closed")
	}
	if in {
		words = append(words, word.String())
	}
	return words, nil
}
