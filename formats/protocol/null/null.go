package null

import (
	"context"
	"strings"
	"syscall"
	"time"

	"platter/formats"
	"platter/formats/option"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

var openOpts = option.Schema{
	{Name: "filename", Type: option.String},
	{Name: "size", Type: option.Size, Help: "size of the null block"},
	{Name: "latency-ns", Type: option.Number, Help: "nanoseconds (approximated) to wait before completing request"},
	{Name: "read-zeroes", Type: option.Bool, Help: "return zeroes when read"},
}

// Drivers are null-co and null-aio.
func Drivers() []*formats.Driver {
	var ds []*formats.Driver
	for _, name := range []string{"null-co", "null-aio"} {
		ds = append(ds, &formats.Driver{
			Name: name, Kind: formats.Protocol, Schemes: []string{name}, OpenOpts: openOpts,
			StrongOpts: []string{"size"},
			ParseName: func(file string, _ *qobj.Dict) error {
				if strings.TrimPrefix(file, name+"://") != "" {
					return qerr.New(syscall.EINVAL, "The only allowed filename for this driver is '%s://'", name)
				}
				return nil
			},
			Open: func(_ context.Context, a formats.OpenArgs) (formats.Image, error) { return open(name, a) },
		})
	}
	return ds
}

func open(name string, a formats.OpenArgs) (formats.Image, error) {
	size := a.Options.Uint("size", 1<<30)
	if size > 1<<62 {
		return nil, qerr.New(syscall.EINVAL, "size is invalid")
	}
	latency := a.Options.Uint("latency-ns", 0)
	if int64(latency) < 0 {
		return nil, qerr.New(syscall.EINVAL, "latency-ns is invalid")
	}
	return &image{name: name, size: int64(size), latency: time.Duration(latency),
		zeroes: a.Options.Bool("read-zeroes", false)}, nil
}

type image struct {
	name    string
	size    int64
	latency time.Duration
	zeroes  bool
}

func (d *image) wait() error {
	if d.latency > 0 {
		time.Sleep(d.latency)
	}
	return nil
}

func (d *image) Size() int64 { return d.size }

func (d *image) Limits() formats.Limits { return formats.Limits{} }

func (d *image) ReadAt(_ context.Context, p []byte, _ int64) error {
	clear(p)
	return d.wait()
}

func (d *image) WriteAt(context.Context, []byte, int64, formats.WriteFlags) error { return d.wait() }

func (d *image) WriteZeroes(context.Context, int64, int64, formats.WriteFlags) error {
	return d.wait()
}

func (d *image) Status(_ context.Context, off, n int64) (formats.Extent, error) {
	e := formats.Extent{Len: n, Offset: off}
	if d.zeroes {
		e.State = formats.Zero
	}
	return e, nil
}

func (d *image) Flush(context.Context) error { return d.wait() }

func (d *image) Close() error { return nil }

// FileName is the only name that the driver has.
func (d *image) FileName() string { return d.name + "://" }

// AllocatedSize is nothing.
func (d *image) AllocatedSize(context.Context) (int64, error) { return 0, nil }
