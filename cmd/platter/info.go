package main

import (
	"context"
	"io"

	"platter/tools"
	"platter/tools/render"
)

// infoArgs is what the command line of info says.
type infoArgs struct {
	Source       tools.Source
	BackingChain bool
	JSON         bool
}

func parseInfo(p *parser) (verbRun, error) {
	a := infoArgs{}
	for p.next() {
		switch p.key {
		case "format":
			a.Source.SetFormat(p.value)
		case "image-opts":
			a.Source.ImageOpts = true
		case "backing-chain":
			a.BackingChain = true
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

func (a *infoArgs) run(ctx context.Context, e *env) int {
	list, err := tools.Info(ctx, e.tools(), tools.InfoOptions{Source: a.Source, BackingChain: a.BackingChain})
	if err != nil {
		return e.finish(err)
	}
	text := render.Info(list)
	if a.JSON {
		text = render.InfoJSON(list, a.BackingChain)
	}
	io.WriteString(e.stdout, e.safe(text))
	return 0
}
