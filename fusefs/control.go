package fusefs

import (
	"context"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/hanwen/go-fuse/v2/fuse"

	"platter/chain"
	"platter/formats/qerr"
	"platter/tools"
)

// Command is a line of ctl that has been understood.
type Command struct {
	// Run does it. The image is the one that the line was written for, flushed before and after.
	Run func(ctx context.Context, n *chain.Node, env *chain.Env, m *tools.Meter) error
	// Attempt does the same in a way that can be taken back, for a batch in which a later line may fail; nil if there is
	// none. Nothing else happens to the image until settle was called, with the decision. The node is exclusively the
	// command's. A command that fails has taken back what it did.
	Attempt func(ctx context.Context, n *chain.Node, env *chain.Env) (settle func(ctx context.Context, keep bool) error, err error)
	// Steps is how many things the command does, if it can fail after some of them; 0 means one.
	Steps int
	// Deletes is the name of the snapshot that the command deletes, which must not be open; "" if none.
	Deletes string
	// Reads: the command changes nothing, and can be given on a read-only mount.
	Reads bool

	flushes bool // it is a flush, and nothing else
}

// Interpreter understands the words of a line. The error's text says what is wrong.
type Interpreter func(words []string) (Command, error)

// control is the file ctl. Each write is a batch of commands, one a line; none is begun unless all are understood, and
// either all changes are made or none (batch.go). "flush" flushes; "cancel" ends the command that runs.
type control struct {
	img       *image
	interpret Interpreter
}

// again makes another file ctl of the same image. The kernel lets nobody open or write a file while it waits for a write
// to it to end, so each lookup gets a file of its own: "cancel" could not be written otherwise.
func (c *control) again() *control { return &control{c.img, c.interpret} }

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
func (h *controlHandle) command(by caller, batch string) error {
	c := h.c
	orders, err := c.understand(batch)
	if err != nil || len(orders) == 0 {
		return err
	}
	ctx, stop := by.context()
	defer stop()
	return c.do(ctx, orders)
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
			return nil, c.img.failed(brief(line), 0, 0, err)
		}
		if o.Run != nil {
			orders = append(orders, order{line, o})
		}
	}
	if err := whole(orders); err != nil {
		return nil, c.img.failed("a batch of commands", 0, 0, err)
	}
	return orders, nil
}

func (c *control) command(words []string) (Command, error) {
	own := words[0] == "flush" || words[0] == "cancel"
	switch {
	case own && len(words) > 1:
		return Command{}, qerr.New(syscall.EINVAL, "'%s' takes no arguments: write it alone on its line", words[0])
	case words[0] == "flush":
		return Command{Reads: true, flushes: true, Run: func(ctx context.Context, n *chain.Node, _ *chain.Env, _ *tools.Meter) error {
			if n != c.img.node { // within a batch that has the image for itself
				return n.Flush(ctx)
			}
			return c.img.flush()
		}}, nil
	case words[0] == "cancel":
		if j := c.img.stats.job.Load(); j != nil {
			j.cancel()
		}
		return Command{Reads: true}, nil
	case c.interpret == nil:
		return Command{}, syscall.EOPNOTSUPP
	}
	return c.interpret(words)
}

// brief is a line as messages show it.
func brief(line string) string {
	const most = 80
	if utf8.RuneCountInString(line) <= most {
		return line
	}
	return string([]rune(line)[:most]) + "..."
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
