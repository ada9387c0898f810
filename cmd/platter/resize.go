package main

import (
	"context"
	"errors"
	"slices"

	"platter/formats"
	"platter/formats/option"
	"platter/tools"
)

// resizeArgs is what the command line of resize says.
type resizeArgs struct {
	Source        tools.Source
	Relative      int    // +1: grow by Size, -1: shrink by Size, 0: to Size
	Size          uint64 // bytes
	Shrink        bool
	Preallocation string // off, metadata, falloc or full
	Quiet         bool
}

// resizeOperands are the name and the size while they are looked for.
type resizeOperands struct {
	name, size       string
	hasName, hasSize bool
}

func parseResize(p *parser) (verbRun, error) {
	a := resizeArgs{Preallocation: "off"}
	o := resizeOperands{}
	for p.next() {
		switch p.key {
		case "":
			o.take(p)
		case "quiet":
			a.Quiet = true
		case "format":
			a.Source.SetFormat(p.value)
		case "image-opts":
			a.Source.ImageOpts = true
		case "shrink":
			a.Shrink = true
		case "preallocation":
			if !slices.Contains(p.verb.Lookup(0, p.key).Choices, p.value) {
				p.fail("Invalid preallocation mode '%s'", p.value)
			}
			a.Preallocation = p.value
		case "object":
			p.object(1)
		}
	}
	if p.err != nil {
		return nil, p.err
	}
	rest := p.args // what stands behind "--"
	if !o.hasName && len(rest) > 0 {
		o.name, o.hasName, rest = rest[0], true, rest[1:]
	}
	if !o.hasSize && len(rest) > 0 {
		o.size, o.hasSize, rest = rest[0], true, rest[1:]
	}
	if !o.hasName || !o.hasSize || len(rest) > 0 {
		return nil, p.usage("Expecting image file name and size")
	}
	a.Source.Filename = o.name
	return &a, a.parseSize(p, o.size)
}

// take handles an operand. Behind the name, a minus and a digit are a size and no option.
func (o *resizeOperands) take(p *parser) {
	switch {
	case !o.hasName:
		o.name, o.hasName = p.value, true
		next, _ := p.scan.Peek()
		if len(next) > 1 && next[0] == '-' && next[1] >= '0' && next[1] <= '9' {
			o.size, o.hasSize = next, true
			p.scan.Skip()
		}
	case !o.hasSize:
		o.size, o.hasSize = p.value, true
	default:
		p.usage("Extra argument(s) in command line")
	}
}

var resizeSchema = option.Schema{{Name: "size", Type: option.Size, Help: "Virtual disk size"}}

func (a *resizeArgs) parseSize(p *parser, text string) error {
	if text != "" && (text[0] == '+' || text[0] == '-') {
		a.Relative = 1
		if text[0] == '-' {
			a.Relative = -1
		}
		text = text[1:]
	}
	v := &option.Values{}
	if err := v.Set(resizeSchema, "size", text); err != nil {
		p.reportError(err)
		p.err = exitCode(1)
		return p.err
	}
	a.Size = v.Uint("size", 0)
	return nil
}

func (a *resizeArgs) run(ctx context.Context, e *env) int {
	o := tools.ResizeOptions{Source: a.Source, Relative: a.Relative, Size: a.Size, Shrink: a.Shrink}
	o.Prealloc, _ = formats.ParsePrealloc(a.Preallocation)
	if err := tools.Resize(ctx, e.tools(), o); err != nil {
		status := e.finish(err)
		if errors.Is(err, tools.ErrShrinks) {
			e.warn("%s", tools.ShrinkWarning)
		}
		return status
	}
	e.say(a.Quiet, "Image resized.\n")
	return 0
}
