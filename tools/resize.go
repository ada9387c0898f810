package tools

import (
	"context"
	"errors"
	"math"
	"syscall"

	"platter/chain"
	"platter/formats"
	"platter/formats/qerr"
)

// ResizeOptions says which image to resize and to what.
type ResizeOptions struct {
	Source
	Relative int    // +1: grow by Size, -1: shrink by Size, 0: to Size
	Size     uint64 // bytes
	Shrink   bool   // making it smaller is meant
	Prealloc formats.Prealloc
}

// Resize changes the virtual size of an image.
func Resize(ctx context.Context, env *Env, o ResizeOptions) (err error) {
	n, err := o.Source.Open(ctx, env, formats.ReadWrite|formats.Resize)
	if err != nil {
		return err
	}
	defer closing(env, n, &err)
	return ResizeNode(ctx, env, n, o)
}

// ResizeNode is Resize for an open image; o.Source is not looked at.
func ResizeNode(ctx context.Context, env *Env, n *chain.Node, o ResizeOptions) error {
	current := n.Size()
	size := o.target(current)
	switch {
	case size <= 0:
		return qerr.New(syscall.EINVAL, "New image size must be positive")
	case size <= current && o.Prealloc != formats.PreallocOff:
		return qerr.New(syscall.EINVAL, "Preallocation can only be used for growing images")
	case size < current && !o.Shrink:
		return refuseShrink()
	}
	if err := n.Truncate(ctx, size, o.Prealloc); err != nil {
		return err
	}
	return n.Flush(ctx)
}

// ErrShrinks is the kind of error with which Resize refuses to make an image smaller; ShrinkWarning belongs behind it.
var ErrShrinks = errors.New("the image would shrink")

// ShrinkWarning is what a user should know who did not ask for the loss of data.
const ShrinkWarning = "Shrinking an image will delete all data beyond the shrunken image's end. Before performing such an " +
	"operation, make sure there is no important data there."

func refuseShrink() error {
	return &qerr.Error{Msg: "Use the --shrink option to perform a shrink operation.", Errno: syscall.EINVAL, Cause: ErrShrinks}
}

// target is the new size; what does not fit into 63 bits is negative.
func (o ResizeOptions) target(current int64) int64 {
	switch {
	case o.Size > math.MaxInt64:
		return -1
	case o.Relative > 0:
		if int64(o.Size) > math.MaxInt64-current {
			return -1
		}
		return current + int64(o.Size)
	case o.Relative < 0:
		return current - int64(o.Size)
	}
	return int64(o.Size)
}
