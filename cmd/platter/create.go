package main

import (
	"context"
	"io"
	"math"

	"platter/formats/option"
	"platter/tools"
	"platter/tools/render"
)

// createArgs is what the command line of create says.
type createArgs struct {
	Filename      string
	Size          int64 // bytes; -1 if not given
	Format        string
	Options       string // joined -o lists
	Help          bool   // list the options of Format instead; Filename may be ""
	Backing       *string
	BackingFormat *string
	Unsafe        bool // the backing file is not opened
	Quiet         bool
}

func parseCreate(p *parser) (verbRun, error) {
	a := createArgs{Format: "raw", Size: -1}
	for p.next() {
		switch p.key {
		case "quiet":
			a.Quiet = true
		case "format":
			a.Format = p.value
		case "options":
			p.options(&a.Options)
		case "backing":
			backing := p.value
			a.Backing = &backing
		case "backing-format":
			format := p.value
			a.BackingFormat = &format
		case "backing-unsafe":
			a.Unsafe = true
		case "object":
			p.object(1)
		}
	}
	if p.err != nil {
		return nil, p.err
	}
	if len(p.args) > 0 {
		a.Filename = p.args[0]
	}
	if a.Help = option.HasHelp(a.Options); a.Help {
		return &a, nil
	}
	if len(p.args) == 0 {
		return nil, p.usage("Expecting image file name")
	}
	if len(p.args) > 1 {
		p.value = p.args[1]
		a.Size = p.size("image size", 0, math.MaxInt64)
	}
	if p.err == nil && len(p.args) > 2 {
		p.usage("Unexpected argument: %s", p.args[2])
	}
	return &a, p.err
}

func (a *createArgs) run(ctx context.Context, e *env) int {
	env := e.tools()
	if a.Help {
		schema, err := tools.CreateHelp(env, a.Format, a.Filename)
		if err != nil {
			return e.finish(err)
		}
		io.WriteString(e.stdout, render.CreateHelp(schema, a.Format, a.Filename != ""))
		return 0
	}
	plan, err := tools.PlanCreate(ctx, env, tools.CreateOptions{
		Filename: a.Filename, Format: a.Format, Options: a.Options, Size: a.Size,
		Backing: a.Backing, BackingFormat: a.BackingFormat, Unsafe: a.Unsafe,
	})
	if err != nil {
		return e.finish(err)
	}
	e.say(a.Quiet, render.Formatting(plan))
	return e.finish(plan.Run(ctx, env))
}
