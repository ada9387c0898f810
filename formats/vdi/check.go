package vdi

import (
	"context"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

// Check finds map entries out of range or used twice, and a wrong counter. The format is not repaired.
func (d *image) Check(ctx context.Context, fix formats.FixMode, env *formats.Env) (formats.CheckResult, error) {
	var r formats.CheckResult
	if fix != 0 {
		return r, qerr.New(syscall.ENOTSUP, "This image format does not support checks")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	seen := make([]uint64, (d.head.blocks+63)/64)
	var count uint32
	err := d.table.Each(ctx, func(b, e uint32) {
		if e >= discarded {
			return
		}
		if e >= d.head.blocks {
			env.Report("ERROR: block index %d too large, is %d", b, e)
			r.Corruptions++
			return
		}
		count++
		switch {
		case seen[e/64]>>(e%64)&1 == 1:
			env.Report("ERROR: block index %d also used by %d", e, e)
			r.Corruptions++
		default:
			seen[e/64] |= 1 << (e % 64)
		}
	})
	if err != nil {
		return r, err
	}
	if count != d.allocated {
		env.Report("ERROR: allocated blocks mismatch, is %d, should be %d", count, d.allocated)
		r.Corruptions++
	}
	return r, nil
}
