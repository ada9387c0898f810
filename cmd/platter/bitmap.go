package main

import (
	"context"
	"math"

	"platter/tools"
)

// bitmapArgs is what the command line of bitmap says.
type bitmapArgs struct {
	Source       tools.Source
	Bitmap       string
	Actions      []tools.BitmapAction
	SourceFile   string // "": sources of merges are in Filename
	SourceFormat string
	Granularity  int64 // bytes; 0 for the default
}

func parseBitmap(p *parser) (verbRun, error) {
	a := bitmapArgs{}
	has := map[string]bool{}
	for p.next() {
		switch p.key {
		case "format":
			a.Source.SetFormat(p.value)
		case "image-opts":
			a.Source.ImageOpts = true
		case "add", "remove", "clear", "enable", "disable", "merge":
			has[p.key] = true
			a.Actions = append(a.Actions, tools.BitmapAction{Action: p.key, Source: p.value})
		case "granularity":
			a.Granularity = p.size("granularity", 0, math.MaxInt64)
		case "source-file":
			a.SourceFile, has["-b"] = p.value, true
		case "source-format":
			a.SourceFormat, has["-F"] = p.value, true
		case "object":
			p.object(1)
		}
	}
	if p.err != nil {
		return nil, p.err
	}
	switch {
	case len(a.Actions) == 0:
		return nil, p.fail("Need at least one of --add, --remove, --clear, --enable, --disable, or --merge")
	case a.Granularity != 0 && !has["add"]:
		return nil, p.fail("granularity only supported with --add")
	case has["-F"] && !has["-b"]:
		return nil, p.fail("-F only supported with -b")
	case has["-b"] && !has["merge"]:
		return nil, p.fail("Merge bitmap source file only supported with --merge")
	case len(p.args) != 2:
		return nil, p.fail("Expecting filename and bitmap name")
	}
	a.Source.Filename, a.Bitmap = p.args[0], p.args[1]
	return &a, nil
}

func (a *bitmapArgs) run(ctx context.Context, e *env) int {
	return e.finish(tools.Bitmap(ctx, e.tools(), tools.BitmapOptions{
		Source: a.Source, Bitmap: a.Bitmap, Actions: a.Actions,
		SourceFile: a.SourceFile, SourceFormat: a.SourceFormat, Granularity: a.Granularity,
	}))
}
