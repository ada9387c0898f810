package main

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"syscall"

	"platter/chain"
	"platter/formats"
	"platter/formats/qerr"
	"platter/fusefs"
	"platter/tools"
)

// controlVerbs are the verbs that a mount's ctl takes: what makes sense on an open image.
var controlVerbs = []string{"amend", "bitmap", "check", "commit", "rebase", "resize", "snapshot"}

// isSize tells the size of resize from its options.
func isSize(word string) bool {
	digits := strings.TrimLeft(word, "+-")
	return len(word)-len(digits) <= 1 && digits != "" && digits[0] >= '0' && digits[0] <= '9'
}

// isOpen is why options that say how to open the image, or what for, have no place in ctl.
const isOpen = "the image is open already, as it was mounted"

// unfitForControl are the options that a line of ctl cannot act on.
var unfitForControl = map[string]string{
	"format": isOpen, "image-opts": isOpen, "force-share": isOpen, "cache": isOpen,
	"object":   "objects are given to platter mount, with --object",
	"progress": "stats.json shows how far a command is",
	"output":   "ctl has no output; check.json has the report",
	"list":     "ctl has no output; the directory snapshots lists them",
	"help":     "ctl has no output; 'platter help' has the commands",
}

// onNode is a verb that can be run on an open image.
type onNode interface {
	command() fusefs.Command
}

// interpret understands a line of ctl: a verb as on the command line, without the name of the image. It is read by the
// verb's own parser, so that the syntax and the messages are the same.
func (e *env) interpret(words []string) (fusefs.Command, error) {
	if !slices.Contains(controlVerbs, words[0]) {
		return fusefs.Command{}, qerr.New(syscall.EINVAL, "unknown command '%.80s': expected one of %s, flush, cancel", words[0],
			strings.Join(controlVerbs, ", "))
	}
	var said bytes.Buffer
	inner := &env{program: e.program, argv0: e.argv0, version: e.version, getenv: e.getenv, objects: e.objects,
		stdin: strings.NewReader(""), stdout: &said, stderr: &said, unfit: unfitForControl}
	// The image comes first, or, since a negative size is only understood behind it, before the size.
	at := 1
	if words[0] == "resize" {
		at = max(1, slices.IndexFunc(words, isSize))
	}
	run, err := inner.parse(words[0], slices.Insert(slices.Clone(words), at, "image")[1:])
	if err != nil {
		text, _, _ := strings.Cut(strings.TrimPrefix(said.String(), inner.program+": "), "\n")
		if strings.HasPrefix(text, "Expecting ") {
			text += " (in ctl the image has none)"
		}
		return fusefs.Command{}, qerr.New(syscall.EINVAL, "%.300s", text)
	}
	switch a := run.(type) {
	case *snapshotArgs:
		if a.Action == "list" {
			return fusefs.Command{}, qerr.New(syscall.EINVAL, "one of -c, -a and -d is expected: %s", unfitForControl["list"])
		}
	case *amendArgs:
		if a.Help {
			return fusefs.Command{}, qerr.New(syscall.EINVAL, "ctl has no output; 'platter amend -o help' lists the options")
		}
	}
	c, ok := run.(onNode)
	if !ok {
		return fusefs.Command{}, qerr.New(syscall.EOPNOTSUPP, "%s cannot be done on an open image", words[0])
	}
	return c.command(), nil
}

// opened is what messages call an open image.
func opened(n *chain.Node) tools.Source { return tools.Source{Filename: n.Filename()} }

func (a *amendArgs) command() fusefs.Command {
	return fusefs.Command{Run: func(ctx context.Context, n *chain.Node, env *chain.Env, m *tools.Meter) error {
		return tools.AmendNode(ctx, env, n, tools.AmendOptions{Source: opened(n), Options: a.Options, Force: a.Force, Meter: m})
	}}
}

func (a *bitmapArgs) command() fusefs.Command {
	return fusefs.Command{
		Steps:   len(a.Actions),
		Attempt: a.attempt,
		Run: func(ctx context.Context, n *chain.Node, env *chain.Env, _ *tools.Meter) error {
			return a.withSource(ctx, n, env, func(src *chain.Node) error {
				for _, step := range a.Actions {
					if err := tools.BitmapNode(ctx, n, src, a.Bitmap, step, a.Granularity); err != nil {
						return qerr.Prepend(err, "Operation %s on bitmap %s failed: ", step.Action, a.Bitmap)
					}
				}
				return nil
			})
		},
	}
}

// withSource calls f with the image that bitmaps are merged from: n itself unless another one is named.
func (a *bitmapArgs) withSource(ctx context.Context, n *chain.Node, env *chain.Env, f func(src *chain.Node) error) error {
	if a.SourceFile == "" {
		return f(n)
	}
	src, err := (tools.Source{Filename: a.SourceFile, Format: a.SourceFormat}).Open(ctx, env, 0)
	if err != nil {
		return err
	}
	defer src.Close()
	return f(src)
}

func (a *checkArgs) command() fusefs.Command {
	o := tools.CheckOptions{}
	switch a.Repair {
	case "leaks":
		o.Fix = formats.FixLeaks
	case "all":
		o.Fix = formats.FixLeaks | formats.FixErrors
	}
	return fusefs.Command{Reads: a.Repair == "", Run: func(ctx context.Context, n *chain.Node, env *chain.Env, _ *tools.Meter) error {
		o.Source = opened(n)
		r, err := tools.CheckNode(ctx, env, n, o)
		if err != nil {
			return err
		}
		if r.Damage() != tools.Healthy {
			return qerr.New(syscall.EUCLEAN, "%d errors and %d leaked clusters were found", r.Corruptions, r.Leaks)
		}
		return nil
	}}
}

func (a *commitArgs) command() fusefs.Command {
	return fusefs.Command{Run: func(ctx context.Context, n *chain.Node, env *chain.Env, m *tools.Meter) error {
		return tools.CommitNode(ctx, env, n, tools.CommitOptions{Source: opened(n), Base: a.Base, Drop: a.Drop, Rate: a.Rate,
			Attach: true, Meter: m})
	}}
}

func (a *rebaseArgs) command() fusefs.Command {
	return fusefs.Command{Run: func(ctx context.Context, n *chain.Node, env *chain.Env, m *tools.Meter) error {
		return tools.RebaseNode(ctx, env, n, tools.RebaseOptions{Source: opened(n), Backing: a.Backing, BackingFormat: a.BackingFormat,
			BackingCache: a.BackingCache, Unsafe: a.Unsafe, Compress: a.Compress, Attach: true, Meter: m})
	}}
}

func (a *resizeArgs) command() fusefs.Command {
	o := tools.ResizeOptions{Relative: a.Relative, Size: a.Size, Shrink: a.Shrink}
	o.Prealloc, _ = formats.ParsePrealloc(a.Preallocation)
	return fusefs.Command{Attempt: attemptResize(o), Run: func(ctx context.Context, n *chain.Node, env *chain.Env, _ *tools.Meter) error {
		o.Source = opened(n)
		return tools.ResizeNode(ctx, env, n, o)
	}}
}

func (a *snapshotArgs) command() fusefs.Command {
	c := fusefs.Command{Attempt: a.attempt}
	if a.Action == "delete" {
		c.Deletes = a.Snapshot
	}
	c.Run = func(ctx context.Context, n *chain.Node, _ *chain.Env, _ *tools.Meter) error {
		return tools.SnapshotNode(ctx, n, snapshotActions[a.Action], a.Snapshot)
	}
	return c
}
