package main

import (
	"context"
	"io"

	"platter/formats/option"
	"platter/tools"
	"platter/tools/render"
)

// amendArgs is what the command line of amend says.
type amendArgs struct {
	Source   tools.Source
	Options  string // joined -o lists
	Help     bool   // list the options of the format instead; Filename may then be ""
	Force    bool
	Progress bool
	Quiet    bool
}

func parseAmend(p *parser) (verbRun, error) {
	a, mode := amendArgs{}, "writeback"
	for p.next() {
		switch p.key {
		case "quiet":
			a.Quiet = true
		case "progress":
			a.Progress = true
		case "format":
			a.Source.SetFormat(p.value)
		case "image-opts":
			a.Source.ImageOpts = true
		case "cache":
			mode = p.value
		case "force":
			a.Force = true
		case "options":
			p.options(&a.Options)
		case "object":
			p.object(1)
		}
	}
	if p.err != nil {
		return nil, p.err
	}
	if a.Options == "" {
		return nil, p.usage("Must specify options (-o)")
	}
	a.Progress = a.Progress && !a.Quiet
	a.Help = option.HasHelp(a.Options)
	if a.Help && a.Source.Format != "" {
		return &a, nil
	}
	if len(p.args) != 1 {
		p.progressFailed(a.Progress)
		return nil, p.fail("Expecting one image file name")
	}
	a.Source.Filename = p.args[0]
	if a.Source.Cache = p.cacheMode(mode, "cache"); p.err != nil {
		p.progressFailed(a.Progress)
		return nil, p.err
	}
	return &a, nil
}

func (a *amendArgs) run(ctx context.Context, e *env) int {
	p := e.progress(a.Progress, a.Quiet)
	defer p.End()
	if a.Help {
		format, schema, err := tools.AmendHelp(ctx, e.tools(), a.Source)
		if err == nil {
			io.WriteString(e.stdout, render.AmendHelp(schema, format))
		}
		return e.finish(err)
	}
	return e.finish(tools.Amend(ctx, e.tools(), tools.AmendOptions{
		Source: a.Source, Options: a.Options, Force: a.Force, Meter: p.Meter,
	}))
}
