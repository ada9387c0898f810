package main

import (
	"context"
	"io"

	"platter/tools"
	"platter/tools/render"
)

// snapshotArgs is what the command line of snapshot says.
type snapshotArgs struct {
	Source   tools.Source
	Action   string // list, create, apply or delete
	Snapshot string // name, or (apply, delete) id
	Quiet    bool
}

func parseSnapshot(p *parser) (verbRun, error) {
	a := snapshotArgs{}
	for p.next() {
		switch p.key {
		case "quiet":
			a.Quiet = true
		case "format":
			a.Source.SetFormat(p.value)
		case "image-opts":
			a.Source.ImageOpts = true
		case "force-share":
			a.Source.ForceShare = true
		case "list", "create", "apply", "delete":
			if a.Action != "" {
				p.usage("Cannot mix '-l', '-a', '-c', '-d'")
			}
			a.Action, a.Snapshot = p.key, p.value
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
	if a.Action == "" {
		a.Action = "list"
	}
	return &a, nil
}

var snapshotActions = map[string]tools.SnapshotAction{
	"list": tools.SnapshotList, "create": tools.SnapshotCreate, "apply": tools.SnapshotApply, "delete": tools.SnapshotDelete,
}

func (a *snapshotArgs) run(ctx context.Context, e *env) int {
	list, err := tools.Snapshot(ctx, e.tools(), tools.SnapshotOptions{
		Source: a.Source, Action: snapshotActions[a.Action], Name: a.Snapshot,
	})
	io.WriteString(e.stdout, e.safe(render.Snapshots(list)))
	return e.finish(err)
}
