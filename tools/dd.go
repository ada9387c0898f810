package tools

import (
	"context"
	"io"
	"math"
	"strconv"
	"syscall"

	"platter/chain"
	"platter/formats"
	"platter/formats/option"
	"platter/formats/qerr"
	"platter/tools/copier"
)

// DDOptions says which part of which image is copied.
type DDOptions struct {
	Input        Source
	Output       string
	OutputFormat string // driver name
	BlockSize    int64  // bytes
	Count        int64  // blocks of the input, from its start, that are looked at; -1: all
	Skip         int64  // of these, blocks that are left out at the start
	// Say is told that nothing is left behind Skip; the output is empty then, which is no error.
	Say func(text string)
}

// DD copies a range of an image into a new one, byte by byte: zeroes are written, too.
func DD(ctx context.Context, env *Env, o DDOptions) (err error) {
	in, err := o.Input.Open(ctx, env, 0)
	if err != nil {
		return err
	}
	defer closing(env, in, &err)
	if env.Registry.Find(o.OutputFormat) == nil {
		return qerr.New(syscall.EINVAL, "Unknown file format")
	}
	drv, schema, err := creatable(env, o.OutputFormat, o.Output)
	if err != nil {
		return err
	}
	from, end := o.window(in.Size())
	v := &option.Values{}
	if err := v.Set(schema, "size", strconv.FormatInt(end-min(from, end), 10)); err != nil {
		return err
	}
	err = chain.Create(ctx, env, chain.CreateRequest{Filename: o.Output, Driver: drv, Options: v, Size: end - min(from, end)})
	if err != nil {
		return qerr.Prepend(err, "%s: error while creating output image: ", o.Output)
	}
	out, err := Source{Filename: o.Output, Format: o.OutputFormat}.Open(ctx, env, formats.ReadWrite)
	if err != nil {
		return err
	}
	defer closing(env, out, &err)
	if from > end {
		o.Say(o.Input.Filename + ": cannot skip to specified offset")
		return nil
	}
	return copyRange(ctx, in, out, from, end)
}

// window is the part of an input of size bytes that is copied; from is behind end if Skip leaves nothing.
func (o DDOptions) window(size int64) (from, end int64) {
	end = size
	if o.Count >= 0 && o.Count <= math.MaxInt64/o.BlockSize {
		end = min(end, o.Count*o.BlockSize)
	}
	if o.Skip > math.MaxInt64/o.BlockSize {
		return math.MaxInt64, end
	}
	return o.Skip * o.BlockSize, end
}

// copyRange copies [from, end) of in to the start of out.
func copyRange(ctx context.Context, in, out *chain.Node, from, end int64) error {
	pos := from
	return copier.Run(ctx, copier.Job{
		Buffer: copyBuffer, Ordered: true,
		Next: func(context.Context) (copier.Piece, error) {
			if pos >= end {
				return copier.Piece{}, io.EOF
			}
			p := copier.Piece{Off: pos, Len: min(copyBuffer, end-pos)}
			pos += p.Len
			return p, nil
		},
		Load: func(ctx context.Context, p copier.Piece, buf []byte, _ *copier.Scratch) error {
			return qerr.Prepend(bare(in.ReadAt(ctx, buf, p.Off)), "error while reading from input image file: ")
		},
		Store: func(ctx context.Context, p copier.Piece, buf []byte, _ *copier.Scratch, turn *formats.Turn) error {
			return qerr.Prepend(bare(out.WriteAt(formats.WithTurn(ctx, turn), buf, p.Off-from, 0)), "error while writing to output image file: ")
		},
	})
}
