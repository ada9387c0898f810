package tools

import (
	"context"
	"strconv"
	"syscall"

	"platter/chain"
	"platter/formats"
	"platter/formats/option"
	"platter/formats/qerr"
)

// MeasureOptions says for what image the file size is to be computed.
type MeasureOptions struct {
	Source       *Source        // image that would be converted; nil: Size counts
	Snapshot     *SnapshotParam // of Source; nil: its present state
	Size         int64          // virtual size in bytes, if there is no Source
	TargetFormat string         // driver name
	Options      string         // creation options as given to -o
}

// OptionsError is a creation option that the format does not take.
type OptionsError struct {
	Format string
	Err    error
}

// Error is the message about the option alone.
func (e *OptionsError) Error() string { return qerr.Text(e.Err) }

// Unwrap is the error about the option.
func (e *OptionsError) Unwrap() error { return e.Err }

// Measure computes how large the file of a new image would be.
func Measure(ctx context.Context, env *Env, o MeasureOptions) (m formats.Measurement, err error) {
	a := formats.MeasureArgs{Size: o.Size, Env: env.Env}
	var image *chain.Node // what a snapshot belongs to
	if o.Source != nil {
		n, err := o.Source.Open(ctx, env, 0)
		if err != nil {
			return m, err
		}
		defer closing(env, n, &err)
		if o.Snapshot != nil {
			view, err := openSnapshot(ctx, env, n, *o.Snapshot)
			if err != nil {
				return m, qerr.Prepend(err, "Failed to load snapshot: ")
			}
			defer closing(env, view, &err)
			image, n = n, view
		}
		a.Source, a.Size = n, n.Size()
	}
	drv := env.Registry.Find(o.TargetFormat)
	switch {
	case drv == nil:
		return m, qerr.New(syscall.EINVAL, "Unknown file format '%s'", o.TargetFormat)
	case drv.CreateOpts == nil:
		return m, qerr.New(syscall.ENOTSUP, "Format driver '%s' does not support image creation", drv.Name)
	}
	schema := drv.CreateOpts
	if file := env.Registry.Find("file"); file != nil {
		schema = option.Merge(schema, file.CreateOpts)
	}
	if a.Options, err = schema.Parse(o.Options); err != nil {
		return m, &OptionsError{drv.Name, err}
	}
	if o.Source == nil {
		if err := a.Options.Set(schema, "size", strconv.FormatInt(o.Size, 10)); err != nil {
			return m, err
		}
	}
	if drv.Measure == nil {
		return m, qerr.New(syscall.ENOTSUP, "Block driver '%s' does not support size measurement", drv.Name)
	}
	if m, err = drv.Measure(ctx, a); err != nil || image == nil {
		return m, err
	}
	a.Source = image // bitmaps are the image's, not a snapshot's
	whole, err := drv.Measure(ctx, a)
	m.Bitmaps = whole.Bitmaps
	return m, err
}
