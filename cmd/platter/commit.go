package main

import (
	"context"
	"math"

	"platter/tools"
)

// commitArgs is what the command line of commit says.
type commitArgs struct {
	Source   tools.Source
	Base     *string // nil: the immediate backing file
	Drop     bool    // leave Filename as it is afterwards
	Rate     int64   // bytes a second; 0: no limit
	Progress bool
	Quiet    bool
}

func parseCommit(p *parser) (verbRun, error) {
	a, mode := commitArgs{}, "writeback"
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
		case "drop":
			a.Drop = true
		case "base":
			base := p.value
			a.Base, a.Drop = &base, true
		case "rate":
			a.Rate = p.size("rate limit", 0, math.MaxInt64)
		case "object":
			p.object(1)
		}
	}
	if p.err != nil {
		return nil, p.err
	}
	if len(p.args) != 1 {
		return nil, p.usage("Expecting one image file name")
	}
	a.Source.Filename = p.args[0]
	a.Progress = a.Progress && !a.Quiet
	a.Source.Cache = p.cacheMode(mode, "cache")
	return &a, p.err
}

func (a *commitArgs) run(ctx context.Context, e *env) int {
	p := e.progress(a.Progress, a.Quiet)
	err := tools.Commit(ctx, e.tools(), tools.CommitOptions{
		Source: a.Source, Base: a.Base, Drop: a.Drop, Rate: a.Rate, Meter: p.Meter,
	})
	if p.Meter.Started() || !a.Progress { // an image that cannot be opened has no progress line
		p.End()
	}
	if err != nil {
		return e.finish(err)
	}
	e.say(a.Quiet, "Image committed.\n")
	return 0
}
