package tools

import (
	"context"
	"errors"
	"strconv"
	"syscall"

	"platter/chain"
	"platter/formats"
	"platter/formats/option"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// CreateOptions says which image to make.
type CreateOptions struct {
	Filename      string
	Format        string  // driver name
	Options       string  // creation options as given to -o
	Size          int64   // virtual size in bytes; -1 if not given
	Backing       *string // -b; nil if not given
	BackingFormat *string // -F; nil if not given
	Unsafe        bool    // -u: the backing file is not opened
}

// CreatePlan is a checked creation that has not touched anything yet.
type CreatePlan struct {
	Filename string
	Driver   *formats.Driver
	Schema   option.Schema  // all options that are allowed there
	Values   *option.Values // by Schema; size and backing file included
	Size     int64          // virtual size in bytes
}

// Create makes a new image.
func Create(ctx context.Context, env *Env, o CreateOptions) error {
	p, err := PlanCreate(ctx, env, o)
	if err != nil {
		return err
	}
	return p.Run(ctx, env)
}

// PlanCreate checks what was asked for, in the stock tool's order, and finds the size if the backing file has to tell
// it. Nothing is made yet.
func PlanCreate(ctx context.Context, env *Env, o CreateOptions) (*CreatePlan, error) {
	p, err := planCreate(ctx, env, o)
	return p, qerr.Prepend(err, "%s: ", o.Filename)
}

func planCreate(ctx context.Context, env *Env, o CreateOptions) (*CreatePlan, error) {
	p := &CreatePlan{Filename: o.Filename, Driver: env.Registry.Find(o.Format)}
	if p.Driver == nil {
		return nil, qerr.New(syscall.EINVAL, "Unknown file format '%s'", o.Format)
	}
	var err error
	if p.Schema, err = chain.CreateSchema(env, p.Driver, o.Filename); err != nil {
		return nil, err
	}
	if p.Values, err = p.Schema.Parse(o.Options); err != nil {
		return nil, err
	}
	if err := p.setSize(o.Size); err != nil {
		return nil, err
	}
	if err := p.setBacking(o); err != nil {
		return nil, err
	}
	if err := p.checkBacking(ctx, env, o); err != nil {
		return nil, err
	}
	p.Size = int64(p.Values.Uint("size", noSize))
	if p.Size == -1 {
		return nil, qerr.New(syscall.EINVAL, "Image creation needs a size parameter")
	}
	return p, nil
}

// noSize stands for a size that is not given; it is what -1 is as an unsigned number.
const noSize = 1<<64 - 1

func (p *CreatePlan) setSize(size int64) error {
	if p.Values.Has("size") {
		if size != -1 {
			return qerr.New(syscall.EINVAL, "The image size must be specified only once")
		}
		return nil
	}
	if size == -1 {
		return nil
	}
	return p.Values.Set(p.Schema, "size", strconv.FormatInt(size, 10))
}

// setBacking takes -b and -F into the options.
func (p *CreatePlan) setBacking(o CreateOptions) error {
	if o.Backing != nil {
		if p.Values.Set(p.Schema, "backing_file", *o.Backing) != nil {
			return qerr.New(syscall.EINVAL, "Backing file not supported for file format '%s'", o.Format)
		}
	}
	if o.BackingFormat != nil {
		if p.Values.Set(p.Schema, "backing_fmt", *o.BackingFormat) != nil {
			return qerr.New(syscall.EINVAL, "Backing file format not supported for file format '%s'", o.Format)
		}
	}
	return nil
}

// checkBacking opens the backing file, unless that is not wanted, to see that it is there and how large it is.
func (p *CreatePlan) checkBacking(ctx context.Context, env *Env, o CreateOptions) error {
	backing, given := p.Values.Raw("backing_file")
	if !given {
		return nil
	}
	switch backing {
	case o.Filename:
		return qerr.New(syscall.EINVAL, "Error: Trying to create an image with the same filename as the backing file")
	case "":
		return qerr.New(syscall.EINVAL, "Expected backing file name, got empty string")
	}
	format, hasFormat := p.Values.Raw("backing_fmt")
	if o.Unsafe {
		if !hasFormat {
			return errNoBackingFormat
		}
		return nil
	}
	full, err := chain.ResolveBacking(o.Filename, backing)
	if err != nil {
		return err
	}
	if hasFormat && env.Registry.Find(format) == nil { // an empty name is not a request to probe
		err := qerr.New(syscall.EINVAL, "Unknown driver '%s'", format)
		return qerr.WithHint(err, "Could not open backing image.\n")
	}
	n, err := openShared(ctx, env, full, format)
	if err != nil {
		return qerr.WithHint(err, "Could not open backing image.\n")
	}
	defer n.Close()
	if !hasFormat {
		return qerr.WithHint(errNoBackingFormat, "Detected format of "+n.Driver().Name+".\n")
	}
	if p.Values.Has("size") {
		return nil
	}
	return p.Values.Set(p.Schema, "size", strconv.FormatInt(n.Size(), 10))
}

var errNoBackingFormat = qerr.New(syscall.EINVAL, "Backing file specified without backing format")

// openShared opens an image for reading while others may write it.
func openShared(ctx context.Context, env *Env, name, format string) (*chain.Node, error) {
	opts := qobj.NewDict()
	opts.Set("force-share", true)
	return chain.Open(ctx, env, chain.Request{Filename: name, Format: format, Options: opts})
}

// Run makes the image, and removes what it made if that fails.
func (p *CreatePlan) Run(ctx context.Context, env *Env) error {
	err := chain.Create(ctx, env, chain.CreateRequest{
		Filename: p.Filename, Driver: p.Driver, Options: p.Values, Size: p.Size})
	if errors.Is(err, syscall.EFBIG) {
		hint := ""
		if p.Values.Uint("cluster_size", 0) != 0 {
			hint = " (try using a larger cluster size)"
		}
		err = qerr.New(syscall.EFBIG, "The image size is too large for file format '%s'%s", p.Driver.Name, hint)
	}
	return qerr.Prepend(err, "%s: ", p.Filename)
}

// CreateHelp gives the options that create takes for a format, those of the protocol included if filename is not "".
func CreateHelp(env *Env, format, filename string) (option.Schema, error) {
	drv := env.Registry.Find(format)
	switch {
	case drv == nil:
		return nil, qerr.New(syscall.EINVAL, "Unknown file format '%s'", format)
	case drv.CreateOpts == nil:
		return nil, qerr.New(syscall.ENOTSUP, "Format driver '%s' does not support image creation", drv.Name)
	case filename == "":
		return drv.CreateOpts, nil
	}
	return chain.CreateSchema(env, drv, filename)
}
