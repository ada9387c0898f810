package main

import (
	"context"

	"platter/cmd/platter/internal/progress"
	"platter/tools"
)

// rebaseArgs is what the command line of rebase says.
type rebaseArgs struct {
	Source        tools.Source
	Backing       *string // "": no backing file; nil only with Unsafe
	BackingFormat *string
	BackingCache  tools.Cache
	Unsafe        bool
	Compress      bool
	Progress      bool
	Quiet         bool
}

// long: one case for each option.
func parseRebase(p *parser) (verbRun, error) {
	a := rebaseArgs{}
	mode, backingMode := "writeback", "writeback"
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
		case "backing":
			backing := p.value
			a.Backing = &backing
		case "backing-format":
			format := p.value
			a.BackingFormat = &format
		case "backing-cache":
			backingMode = p.value
		case "backing-unsafe":
			a.Unsafe = true
		case "compress":
			a.Compress = true
		case "force-share":
			a.Source.ForceShare = true
		case "object":
			p.object(1)
		}
	}
	if p.err != nil {
		return nil, p.err
	}
	switch {
	case len(p.args) != 1:
		return nil, p.usage("Expecting one image file name")
	case !a.Unsafe && a.Backing == nil:
		return nil, p.usage("Must specify backing file (-b) or use unsafe mode (-u)")
	}
	a.Source.Filename = p.args[0]
	a.Progress = a.Progress && !a.Quiet
	a.Source.Cache = p.cacheMode(mode, "cache")
	if p.err == nil {
		a.BackingCache = p.cacheMode(backingMode, "source cache")
	}
	if p.err != nil && a.Progress && p.stock {
		progress.Show(p.stdout, 0)
		progress.EndLine(p.stdout)
	}
	return &a, p.err
}

func (a *rebaseArgs) run(ctx context.Context, e *env) int {
	p := e.progress(a.Progress, a.Quiet)
	defer p.End()
	return e.finish(tools.Rebase(ctx, e.tools(), tools.RebaseOptions{
		Source: a.Source, Backing: a.Backing, BackingFormat: a.BackingFormat, BackingCache: a.BackingCache,
		Unsafe: a.Unsafe, Compress: a.Compress, Meter: p.Meter,
	}))
}
