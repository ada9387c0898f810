package main

import (
	"context"

	"platter/formats"
	"platter/tools"
	"platter/tools/render"
)

// checkArgs is what the command line of check says.
type checkArgs struct {
	Source tools.Source
	Repair string // "", "leaks" or "all"
	JSON   bool
	Quiet  bool
}

func parseCheck(p *parser) (verbRun, error) {
	a, mode := checkArgs{}, "writeback"
	for p.next() {
		switch p.key {
		case "quiet":
			a.Quiet = true
		case "format":
			a.Source.SetFormat(p.value)
		case "image-opts":
			a.Source.ImageOpts = true
		case "cache":
			mode = p.value
		case "repair":
			if p.value != "leaks" && p.value != "all" {
				p.usage("--repair (-r) expects 'leaks' or 'all' not '%s'", p.value)
			}
			a.Repair = p.value
		case "output":
			a.JSON = p.json()
		case "force-share":
			a.Source.ForceShare = true
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
	a.Source.Cache = p.cacheMode(mode, "source cache")
	return &a, p.err
}

func (a *checkArgs) run(ctx context.Context, e *env) int {
	o := tools.CheckOptions{Source: a.Source}
	switch a.Repair {
	case "leaks":
		o.Fix = formats.FixLeaks
	case "all":
		o.Fix = formats.FixLeaks | formats.FixErrors
	}
	text := render.Check
	if a.JSON {
		text = render.CheckJSON
	} else {
		o.Repaired = func(r formats.CheckResult) { e.say(a.Quiet, render.Repaired(r)) }
	}
	report, err := tools.Check(ctx, e.tools(), o)
	if report != nil {
		e.say(a.Quiet, text(report))
	}
	if err != nil {
		return e.finish(err)
	}
	return damageStatus[report.Damage()]
}
