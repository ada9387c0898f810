package main

import (
	"bufio"
	"context"
	"math"

	"platter/tools"
	"platter/tools/render"
)

// mapArgs is what the command line of map says.
type mapArgs struct {
	Source      tools.Source
	StartOffset int64 // bytes
	MaxLength   int64 // bytes; -1: to the end
	JSON        bool
}

func parseMap(p *parser) (verbRun, error) {
	a := mapArgs{MaxLength: -1}
	for p.next() {
		switch p.key {
		case "format":
			a.Source.SetFormat(p.value)
		case "image-opts":
			a.Source.ImageOpts = true
		case "start-offset":
			a.StartOffset = p.size("start offset", 0, math.MaxInt64)
		case "max-length":
			a.MaxLength = p.size("max length", 0, math.MaxInt64)
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
	return &a, nil
}

func (a *mapArgs) run(ctx context.Context, e *env) int {
	out := bufio.NewWriterSize(e.stdout, 64<<10)
	w := render.NewMap(safeWriter{e, out}, a.JSON)
	err := tools.Map(ctx, e.tools(), tools.MapOptions{
		Source: a.Source, StartOffset: a.StartOffset, MaxLength: a.MaxLength, Opened: w.Begin,
	}, w.Entry)
	if e := out.Flush(); err == nil {
		err = e
	}
	return e.finish(err)
}
