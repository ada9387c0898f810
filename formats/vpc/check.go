package vpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

// Check finds blocks that lie on one another or on the tables, a wrong checksum of the dynamic header, and, as findings
// that harm no data, space that no block has and a footer that is not behind the last block. The latter is repaired.
// QEMU does not check VHDs, and where its output is expected this says so.
func (d *image) Check(ctx context.Context, fix formats.FixMode, env *formats.Env) (formats.CheckResult, error) {
	var r formats.CheckResult
	if !env.Beyond {
		return r, qerr.New(syscall.ENOTSUP, "This image format does not support checks")
	}
	if d.kind == typeFixed {
		if d.file.Size() < d.size+footerSize {
			env.Report("ERROR: the file has %d bytes, the disk and the footer need %d", d.file.Size(), d.size+footerSize)
			r.Corruptions++
		}
		return r, nil
	}
	if err := d.Flush(ctx); err != nil {
		return r, err
	}
	d.mu.Lock()
	err := d.checkBlocks(ctx, &r, env)
	d.mu.Unlock()
	if err != nil {
		return r, err
	}
	if binary.BigEndian.Uint32(d.head[atHeadSum:]) != checksum(d.head[:], atHeadSum) {
		env.Report("ERROR: the checksum of the dynamic header is wrong")
		r.Corruptions++
	}
	return r, d.checkFooter(ctx, fix, &r, env)
}

// checkBlocks looks at the table. mu is held.
func (d *image) checkBlocks(ctx context.Context, r *formats.CheckResult, env *formats.Env) error {
	type block struct{ number, sector uint32 }
	var all []block
	err := d.table.Each(ctx, func(b, e uint32) {
		if e != unallocated {
			all = append(all, block{b, e})
		}
	})
	if err != nil {
		return err
	}
	r.TotalClusters = (d.size + d.block - 1) / d.block
	r.AllocatedClusters = int64(len(all))
	slices.SortFunc(all, func(a, b block) int { return int(int64(a.sector) - int64(b.sector)) })
	// What is before the first block: headers, the table, and the parent's paths.
	free := max(d.tableEnd, d.locatorsEnd())
	for i, b := range all {
		at := int64(b.sector) * sectorSize
		switch {
		case at < free && i == 0:
			env.Report("ERROR: block %d lies on the image's tables", b.number)
			r.Corruptions++
		case at < free:
			env.Report("ERROR: block %d lies on block %d", b.number, all[i-1].number)
			r.Corruptions++
		default:
			r.Leaks += (at - free) / (d.bitmap + d.block)
		}
		free = max(free, at+d.bitmap+d.block)
	}
	if r.Leaks > 0 {
		env.Report("Space for %d blocks is not in use", r.Leaks)
	}
	return nil
}

// checkFooter compares the footer with its copy at the beginning, which is what the image was opened by.
func (d *image) checkFooter(ctx context.Context, fix formats.FixMode, r *formats.CheckResult, env *formats.Env) error {
	last := make([]byte, footerSize)
	if at := d.file.Size() - footerSize; at >= d.end {
		if err := d.file.ReadAt(ctx, last, at); err != nil {
			return err
		}
	}
	if bytes.Equal(last, d.foot[:]) {
		return nil
	}
	if fix == 0 {
		env.Report("The footer is missing at the end of the file, or is another than its copy at the beginning")
		r.Leaks++
		return nil
	}
	r.LeaksFixed++
	d.mu.Lock()
	d.changed, d.footAt = true, 0
	d.mu.Unlock()
	if err := d.Flush(ctx); err != nil {
		return err
	}
	// What a crash has left behind the footer would hide it.
	return d.file.Truncate(ctx, d.end+footerSize, formats.PreallocOff)
}
