package main

import (
	"context"
	"io"

	"github.com/urfave/cli/v2"

	"platter/chain"
	"platter/cmd/platter/internal/complete"
	"platter/formats"
	"platter/formats/option"
)

// completionAction prints the script for a shell.
func completionAction(e *env, c *cli.Context) error {
	script, ok := complete.Script(c.Args().First())
	if !ok || c.Args().Len() != 1 {
		e.report("Expecting the name of a shell: bash, zsh or fish")
		return e.try("completion")
	}
	_, err := io.WriteString(e.stdout, script)
	return err
}

// completeAction answers a completion script.
func completeAction(e *env, c *cli.Context) error {
	if c.Args().Len() > 1 {
		complete.Answers(e.stdout, &completionNames{e, c.Context}, c.Args().First(), c.Args().Tail())
	}
	return nil
}

// completionNames finds names for completion.
type completionNames struct {
	e   *env
	ctx context.Context
}

func (n *completionNames) Formats() []string {
	var names []string
	for _, d := range n.e.registry().All() {
		if d.Kind == formats.Format {
			names = append(names, d.Name)
		}
	}
	return names
}

func (n *completionNames) Options(verb, format string) []complete.Candidate {
	d := n.e.registry().Find(format)
	if d == nil {
		return nil
	}
	schema := d.CreateOpts
	if verb == "amend" {
		schema = d.AmendOpts
	} else if f := n.e.registry().Find("file"); f != nil {
		schema = option.Merge(schema, f.CreateOpts)
	}
	var all []complete.Candidate
	for _, o := range schema {
		all = append(all, complete.Candidate{Word: o.Name, Help: o.Help})
	}
	return all
}

func (n *completionNames) Snapshots(image, format string) (names []string) {
	n.look(image, format, func(node *chain.Node) {
		if s, ok := formats.As[formats.Snapshotter](node); ok {
			list, _ := s.Snapshots(n.ctx)
			for _, snapshot := range list {
				names = append(names, snapshot.Name)
			}
		}
	})
	return names
}

func (n *completionNames) Bitmaps(image, format string) (names []string) {
	n.look(image, format, func(node *chain.Node) {
		if s, ok := formats.As[formats.BitmapStore](node); ok {
			list, _ := s.Bitmaps(n.ctx)
			for _, b := range list {
				names = append(names, b.Name)
			}
		}
	})
	return names
}

// look opens an image for reading without disturbing whoever uses it; references to other files are not followed.
func (n *completionNames) look(image, format string, see func(*chain.Node)) {
	if image == "" {
		return
	}
	env := n.e.tools()
	env.Env.Warn, env.Env.Report = func(string, ...any) {}, func(string, ...any) {}
	node, err := chain.Open(n.ctx, env, chain.Request{
		Filename: image, Format: format, Flags: formats.ForceShare | formats.NoIO | formats.NoBacking,
	})
	if err != nil {
		return
	}
	defer node.Close()
	see(node)
}
