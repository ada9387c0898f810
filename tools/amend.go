package tools

import (
	"context"
	"syscall"

	"platter/chain"
	"platter/formats"
	"platter/formats/option"
	"platter/formats/qerr"
)

// AmendOptions says which creation options of which image to change.
type AmendOptions struct {
	Source
	Options string // as given to -o
	Force   bool   // allow what may make data unreadable
	Meter   *Meter
}

// Amend changes creation options of an existing image.
func Amend(ctx context.Context, env *Env, o AmendOptions) (err error) {
	n, err := o.Source.Open(ctx, env, formats.ReadWrite)
	if err != nil {
		return err
	}
	defer closing(env, n, &err)
	return AmendNode(ctx, env, n, o)
}

// AmendNode is Amend for an open image; o.Source is not looked at.
func AmendNode(ctx context.Context, env *Env, n *chain.Node, o AmendOptions) error {
	a, ok := formats.As[formats.Amender](n.Unwrap())
	if !ok || n.Driver().AmendOpts == nil {
		return cannotAmend(n.Driver())
	}
	v, err := amendValues(n.Driver(), o.Options)
	if err != nil {
		return err
	}
	o.Meter.Advance(0, 0)
	err = n.Exclusive(func() error {
		return a.Amend(ctx, v, o.Force, func(done, total int64) {
			o.Meter.Advance(100*float32(done)/float32(max(total, 1)), 0)
		}, env.Env)
	})
	o.Meter.Advance(100, 0)
	if err != nil {
		return err
	}
	return n.Flush(ctx)
}

func cannotAmend(drv *formats.Driver) error {
	return qerr.New(syscall.ENOTSUP, "Format driver '%s' does not support option amendment", drv.Name)
}

// amendValues reads the options; one that only creation knows is said to be so.
func amendValues(drv *formats.Driver, list string) (*option.Values, error) {
	v, err := drv.AmendOpts.Parse(list)
	if err == nil {
		return v, nil
	}
	if _, e := option.Merge(drv.AmendOpts, drv.CreateOpts).Parse(list); e == nil {
		err = qerr.WithHint(err, "This option is only supported for image creation\n")
	}
	return nil, err
}

// AmendHelp gives the format whose options can be amended, and them: of the driver named in s, or else of the image.
func AmendHelp(ctx context.Context, env *Env, s Source) (format string, schema option.Schema, err error) {
	drv := env.Registry.Find(s.Format)
	if s.Format == "" {
		n, err := s.Open(ctx, env, formats.ReadWrite)
		if err != nil {
			return "", nil, err
		}
		defer closing(env, n, &err)
		drv = n.Driver()
	}
	switch {
	case drv == nil:
		return "", nil, qerr.New(syscall.EINVAL, "Unknown file format '%s'", s.Format)
	case drv.AmendOpts == nil:
		return "", nil, cannotAmend(drv)
	}
	return drv.Name, drv.AmendOpts, nil
}
