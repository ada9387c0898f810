package main

import (
	"context"
	"io"
	"math"
	"slices"

	"platter/tools"
	"platter/tools/render"
)

// benchArgs is what the command line of bench says.
type benchArgs struct {
	Source        tools.Source
	Count         int64  // requests
	Depth         int64  // requests at a time
	Offset        int64  // of the first request, in bytes
	BufferSize    int64  // of a request, in bytes
	StepSize      int64  // from one request to the next, in bytes; 0: BufferSize
	AIO           string // "", "threads", "native" or "io_uring"
	Write         bool
	Pattern       byte
	FlushInterval int64 // requests; 0: no flush
	NoDrain       bool
	Quiet         bool
}

// long: one case for each option.
func parseBench(p *parser) (verbRun, error) {
	a := benchArgs{Count: 75000, Depth: 64, BufferSize: 4096}
	for p.next() {
		switch p.key {
		case "quiet":
			a.Quiet = true
		case "format":
			a.Source.SetFormat(p.value)
		case "image-opts":
			a.Source.ImageOpts = true
		case "cache":
			var ok bool
			if a.Source.Cache, ok = tools.ParseCache(p.value); !ok {
				p.fail("Invalid cache mode")
			}
		case "count":
			a.Count = p.count("request count", 1, math.MaxInt32)
		case "depth":
			a.Depth = p.count("queue depth", 1, math.MaxInt32)
		case "offset":
			a.Offset = p.size("offset", 0, math.MaxInt64)
		case "buffer-size":
			a.BufferSize = p.size("buffer size", 1, math.MaxInt32)
		case "step-size":
			a.StepSize = p.size("step size", 0, math.MaxInt32)
		case "aio":
			if !slices.Contains(p.verb.Lookup('i', "").Choices, p.value) {
				p.fail("Invalid aio option: %s", p.value)
			}
			if a.AIO != "native" && p.value != "threads" { // each adds a flag, and the first of native, io_uring counts
				a.AIO = p.value
			}
		case "native":
			a.AIO = "native"
		case "write":
			a.Write = true
		case "pattern":
			a.Pattern = byte(p.count("pattern byte", 0, 0xff))
		case "flush-interval":
			a.FlushInterval = p.count("flush interval", 0, math.MaxInt32)
		case "no-drain":
			a.NoDrain = true
		case "force-share":
			a.Source.ForceShare = true
		}
	}
	if p.err != nil {
		return nil, p.err
	}
	switch {
	case len(p.args) != 1:
		return nil, p.usage("Expecting one image file name")
	case !a.Write && a.FlushInterval != 0:
		return nil, p.fail("--flush-interval is only available in write tests")
	case a.FlushInterval != 0 && a.FlushInterval < a.Depth:
		return nil, p.fail("Flush interval can't be smaller than depth")
	}
	a.Source.Filename = p.args[0]
	return &a, nil
}

func (a *benchArgs) run(ctx context.Context, e *env) int {
	took, err := tools.Bench(ctx, e.tools(), tools.BenchOptions{
		Source: a.Source, Count: a.Count, Depth: a.Depth, Offset: a.Offset, BufferSize: a.BufferSize,
		StepSize: a.StepSize, AIO: a.AIO, Write: a.Write, Pattern: a.Pattern, FlushInterval: a.FlushInterval,
		NoDrain: a.NoDrain,
		Begin:   func(o tools.BenchOptions) { io.WriteString(e.stdout, render.BenchPlan(o)) },
	})
	if err == nil {
		_, err = io.WriteString(e.stdout, render.BenchTime(took))
	}
	return e.finish(err)
}
