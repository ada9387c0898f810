package main

import (
	"context"
	"errors"
	"io"
	"math"

	"platter/tools"
	"platter/tools/render"
)

// measureArgs is what the command line of measure says.
type measureArgs struct {
	Source       tools.Source // counts if HasSource
	HasSource    bool
	Size         int64 // bytes; -1 if HasSource
	Snapshot     snapshotParam
	TargetFormat string
	Options      string // joined -o lists
	JSON         bool
}

func parseMeasure(p *parser) (verbRun, error) {
	a := measureArgs{TargetFormat: "raw", Size: -1}
	formatGiven := false
	for p.next() {
		switch p.key {
		case "format":
			a.Source.SetFormat(p.value)
			formatGiven = true
		case "image-opts":
			a.Source.ImageOpts = true
		case "target-format":
			a.TargetFormat = p.value
		case "options":
			p.options(&a.Options)
		case "snapshot":
			p.snapshotParam(&a.Snapshot)
		case "size":
			a.Size = p.size("image size", 0, math.MaxInt64)
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
	a.HasSource = len(p.args) > 0
	switch {
	case len(p.args) > 1:
		return nil, p.fail("At most one filename argument is allowed.")
	case !a.HasSource && (a.Source.ImageOpts || formatGiven || a.Snapshot.Given):
		return nil, p.fail("--image-opts, -f, and -l require a filename argument.")
	case a.HasSource && a.Size != -1:
		return nil, p.fail("--size N cannot be used together with a filename.")
	case !a.HasSource && a.Size == -1:
		return nil, p.fail("Either --size N or one filename must be specified.")
	}
	if a.HasSource {
		a.Source.Filename = p.args[0]
	}
	return &a, nil
}

func (a *measureArgs) run(ctx context.Context, e *env) int {
	o := tools.MeasureOptions{
		Size: a.Size, TargetFormat: a.TargetFormat, Options: a.Options, Snapshot: a.Snapshot.tools(),
	}
	if a.HasSource {
		o.Source = &a.Source
	}
	m, err := tools.Measure(ctx, e.tools(), o)
	if err == nil {
		_, err = io.WriteString(e.stdout, render.Measure(m, a.JSON))
	}
	status := e.finish(err)
	var wrong *tools.OptionsError
	if errors.As(err, &wrong) {
		e.report("Invalid options for file format '%s'", wrong.Format)
	}
	return status
}
