package throttle

import (
	"context"
	"sync"
	"syscall"

	"platter/formats"
	"platter/formats/option"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// Driver is the throttle filter. The groups are those of one registry, which is one command.
func Driver() *formats.Driver {
	groups := &groups{byID: map[string]*group{}}
	return &formats.Driver{
		Name: "throttle", Kind: formats.Filter,
		OpenOpts:   option.Schema{{Name: "throttle-group", Type: option.String, Help: "Name of the throttle group"}},
		StrongOpts: []string{"throttle-group"},
		Open: func(_ context.Context, a formats.OpenArgs) (formats.Image, error) {
			g, err := groups.find(a)
			if err != nil {
				return nil, err
			}
			return &image{File: a.File, group: g}, nil
		},
	}
}

type groups struct {
	mu   sync.Mutex
	byID map[string]*group
}

func (s *groups) find(a formats.OpenArgs) (*group, error) {
	id := a.Options.String("throttle-group", "")
	if id == "" {
		return nil, qerr.New(syscall.EINVAL, "Please specify a throttle group")
	}
	obj, ok := a.Env.Object(id)
	d, _ := obj.(*qobj.Dict)
	if kind := typeOf(d); !ok || kind != "throttle-group" {
		return nil, qerr.New(syscall.EINVAL, "Throttle group '%s' does not exist", id)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID[id] == nil {
		s.byID[id] = newGroup(d)
	}
	return s.byID[id], nil
}

func typeOf(d *qobj.Dict) string {
	if d == nil {
		return ""
	}
	kind, _ := d.String("qom-type")
	return kind
}

// image passes everything on, once the group lets it.
type image struct {
	formats.File
	group *group
}

// Info is the child's; nothing else of it shows through a filter.
func (d *image) Info(ctx context.Context) (formats.Info, error) {
	below, ok := formats.As[formats.Describer](d.File)
	if !ok {
		return formats.Info{}, qerr.New(syscall.ENOTSUP, "the image below tells nothing")
	}
	return below.Info(ctx)
}

// Specific is nothing.
func (d *image) Specific(context.Context) (string, *qobj.Dict, error) { return "", nil, nil }

func (d *image) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := d.group.pass(ctx, reading, int64(len(p))); err != nil {
		return err
	}
	return d.File.ReadAt(ctx, p, off)
}

func (d *image) WriteAt(ctx context.Context, p []byte, off int64, f formats.WriteFlags) error {
	if err := d.group.pass(ctx, writing, int64(len(p))); err != nil {
		return err
	}
	return d.File.WriteAt(ctx, p, off, f)
}

func (d *image) WriteZeroes(ctx context.Context, off, n int64, f formats.WriteFlags) error {
	if err := d.group.pass(ctx, writing, n); err != nil {
		return err
	}
	return d.File.WriteZeroes(ctx, off, n, f|formats.NoFallback)
}

func (d *image) Discard(ctx context.Context, off, n int64) error {
	if err := d.group.pass(ctx, writing, n); err != nil {
		return err
	}
	return d.File.Discard(ctx, off, n)
}

// Status is the child's.
func (d *image) Status(_ context.Context, off, n int64) (formats.Extent, error) {
	return formats.Extent{Len: n, State: formats.Raw, Where: d.File, Offset: off}, nil
}

// Close leaves the child to the graph.
func (d *image) Close() error { return nil }
