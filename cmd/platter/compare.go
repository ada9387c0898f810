package main

import (
	"context"
	"fmt"

	"platter/tools"
)

// compareArgs is what the command line of compare says.
type compareArgs struct {
	First, Second tools.Source
	Strict        bool
	Progress      bool
	Quiet         bool
}

// compareError is the exit status of compare when it could not compare: 1 means that the images differ.
const compareError = 2

func parseCompare(p *parser) (verbRun, error) {
	a, mode := compareArgs{}, "writeback"
	for p.next() {
		switch p.key {
		case "quiet":
			a.Quiet = true
		case "progress":
			a.Progress = true
		case "a-format":
			a.First.SetFormat(p.value)
		case "b-format":
			a.Second.SetFormat(p.value)
		case "image-opts":
			a.First.ImageOpts, a.Second.ImageOpts = true, true
		case "strict":
			a.Strict = true
		case "cache":
			mode = p.value
		case "force-share":
			a.First.ForceShare, a.Second.ForceShare = true, true
		case "object":
			p.object(compareError)
		}
	}
	if p.err != nil {
		return nil, p.err
	}
	if len(p.args) != 2 {
		return nil, p.usage("Expecting two image file names")
	}
	a.First.Filename, a.Second.Filename = p.args[0], p.args[1]
	a.Progress = a.Progress && !a.Quiet
	a.First.Cache = p.cacheMode(mode, "source cache")
	a.Second.Cache = a.First.Cache
	if p.err != nil {
		p.progressFailed(a.Progress)
		return nil, exitCode(compareError)
	}
	return &a, nil
}

func (a *compareArgs) run(ctx context.Context, e *env) int {
	p := e.progress(a.Progress, a.Quiet)
	p.Meter.Skip = 2
	status, err := tools.Compare(ctx, e.tools(), tools.CompareOptions{
		First: a.First, Second: a.Second, Strict: a.Strict, Meter: p.Meter,
		Say: func(text string) {
			if !a.Quiet {
				fmt.Fprintln(e.stdout, text)
			}
		},
	})
	p.End()
	e.finish(err)
	return status
}
