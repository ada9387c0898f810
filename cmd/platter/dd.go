package main

import (
	"context"
	"math"
	"strings"

	"platter/tools"
)

// ddArgs is what the command line of dd says.
type ddArgs struct {
	Input        tools.Source
	Output       string
	OutputFormat string
	BlockSize    int64 // bytes
	Count        int64 // blocks; -1: all
	Skip         int64 // blocks
}

func parseDD(p *parser) (verbRun, error) {
	a := ddArgs{OutputFormat: "raw", BlockSize: 512, Count: -1}
	for p.next() {
		switch p.key {
		case "format":
			a.Input.SetFormat(p.value)
		case "image-opts":
			a.Input.ImageOpts = true
		case "output-format":
			a.OutputFormat = p.value
		case "force-share":
			a.Input.ForceShare = true
		case "object":
			p.object(1)
		}
	}
	if p.err != nil {
		return nil, p.err
	}
	has := map[string]bool{}
	for _, arg := range p.args {
		a.operand(p, arg, has)
		if p.err != nil {
			return nil, p.err
		}
	}
	if !has["if"] || !has["of"] {
		return nil, p.fail("Must specify both input and output files")
	}
	return &a, nil
}

// operand reads one key=value; has collects the keys.
func (a *ddArgs) operand(p *parser, arg string, has map[string]bool) {
	key, value, ok := strings.Cut(arg, "=")
	p.value = value
	has[key] = ok
	switch {
	case ok && key == "bs":
		a.BlockSize = p.size("bs", 1, math.MaxInt32)
	case ok && key == "count":
		a.Count = p.count("count", 0, math.MaxInt64)
	case ok && key == "skip":
		a.Skip = p.count("skip", 0, math.MaxInt64)
	case ok && key == "if":
		a.Input.Filename = value
	case ok && key == "of":
		a.Output = value
	default:
		p.fail("unrecognized operand %s", key)
	}
}

func (a *ddArgs) run(ctx context.Context, e *env) int {
	return e.finish(tools.DD(ctx, e.tools(), tools.DDOptions{
		Input: a.Input, Output: a.Output, OutputFormat: a.OutputFormat, BlockSize: a.BlockSize, Count: a.Count,
		Skip: a.Skip, Say: func(text string) { e.report("%s", text) },
	}))
}
