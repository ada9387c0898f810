package main

import (
	"context"
	"math"

	"platter/formats/option"
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

func (a *createArgs) run(ctx context.Context, e *env) int { return e.notYet("create") }
