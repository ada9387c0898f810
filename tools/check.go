package tools

import (
	"context"
	"errors"
	"syscall"

	"platter/chain"
	"platter/formats"
	"platter/formats/qerr"
)

// CheckOptions says which image to check and what to do about what is found.
type CheckOptions struct {
	Source
	Fix formats.FixMode
	// Repaired is called when something was repaired, before the image is checked once more; may be nil.
	Repaired func(r formats.CheckResult)
}

// CheckReport is what check found. After a repair the counts of what is wrong are those of a second check, while
// CorruptionsFixed and LeaksFixed are those of the first.
type CheckReport struct {
	Filename string // as given
	Format   string
	formats.CheckResult
}

// ErrNoChecks is the kind of error with which check ends for formats that cannot be checked (exit status 63).
var ErrNoChecks = errors.New("checks are not supported")

// Damage is the kind of error that a report amounts to.
type Damage int

// The states of an image after check, by rising gravity.
const (
	Healthy Damage = iota
	Leaks          // clusters are lost, data is not (exit status 3)
	Corrupt        // exit status 2
)

// Damage says what state the image is in.
func (r *CheckReport) Damage() Damage {
	switch {
	case r.Corruptions != 0:
		return Corrupt
	case r.Leaks != 0:
		return Leaks
	}
	return Healthy
}

// Check checks an image, and repairs it if asked. A report comes with the error when the check ran but met errors of
// its own.
func Check(ctx context.Context, env *Env, o CheckOptions) (r *CheckReport, err error) {
	flags := formats.ForCheck
	if o.Fix != 0 {
		flags |= formats.ReadWrite
	}
	n, err := o.Source.Open(ctx, env, flags)
	if err != nil {
		return nil, err
	}
	defer closing(env, n, &err)
	return CheckNode(ctx, env, n, o)
}

// CheckNode is Check for an open image; o.Source counts only as the name in the report.
func CheckNode(ctx context.Context, env *Env, n *chain.Node, o CheckOptions) (*CheckReport, error) {
	c, ok := formats.As[formats.Checker](n.Unwrap())
	if !ok {
		return nil, noChecks()
	}
	r := &CheckReport{Filename: o.Filename, Format: n.Driver().Name}
	run := func(fix formats.FixMode) error {
		return n.Exclusive(func() (err error) {
			r.CheckResult, err = c.Check(ctx, fix, env.Env)
			return err
		})
	}
	err := run(o.Fix)
	if errors.Is(err, syscall.ENOTSUP) {
		return nil, noChecks()
	}
	if first := r.CheckResult; err == nil && (first.CorruptionsFixed != 0 || first.LeaksFixed != 0) {
		if o.Repaired != nil {
			o.Repaired(first)
		}
		err = run(0)
		r.CorruptionsFixed, r.LeaksFixed = first.CorruptionsFixed, first.LeaksFixed
	}
	switch {
	case err != nil:
		return nil, qerr.Errno(qerr.Of(err), "Check failed")
	case r.CheckErrors != 0:
		return r, qerr.New(syscall.EIO, "Check failed")
	}
	return r, nil
}

func noChecks() error {
	return &qerr.Error{Msg: "This image format does not support checks", Errno: syscall.ENOTSUP, Cause: ErrNoChecks}
}
