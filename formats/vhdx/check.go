package vhdx

import (
	"context"
	"encoding/binary"
	"math"
	"syscall"

	"platter/formats"
)

// batPiece is how much of the BAT is read at once.
const batPiece = mib

// Check finds entries that point out of the file or into its metadata. Nothing is repaired but a log that had to be
// replayed, which opening has done.
func (d *image) Check(ctx context.Context, _ formats.FixMode, env *formats.Env) (formats.CheckResult, error) {
	var r formats.CheckResult
	if d.replayed {
		r.CorruptionsFixed++
	}
	if d.inMemory {
		env.Report("The image was not closed and its log is to be replayed, which 'check -r all' does; this is how it is after that.")
	}
	if d.writable {
		if err := d.Flush(ctx); err != nil {
			return r, err
		}
	}
	err := d.checkBAT(ctx, env, &r.Corruptions)
	if r.Corruptions > 0 {
		err = nil // counted
	}
	return r, err
}

// checkBAT reads the BAT through. Findings are counted, or end it if count is nil.
func (d *image) checkBAT(ctx context.Context, env *formats.Env, count *int64) error {
	size := d.file.Size()
	entries := min(d.head.batEntries(), max(size-d.regions.bat+7, 0)/8) // behind the end of the file are zeroes
	buf := make([]byte, min(batPiece, entries*8))
	for i := int64(0); i < entries; {
		p := buf[:min(int64(len(buf)), (entries-i)*8)]
		if err := d.file.ReadAt(ctx, p, d.regions.bat+i*8); err != nil {
			return err
		}
		for ; len(p) > 0; p, i = p[8:], i+1 {
			found := d.checkEntry(i, binary.LittleEndian.Uint64(p), size, env, count == nil)
			if found == 0 {
				continue
			}
			if count == nil {
				return syscall.EINVAL
			}
			*count += found
		}
	}
	return nil
}

// checkEntry reports what is wrong with entry i, in QEMU's order, and counts it; once says that one finding is enough.
func (d *image) checkEntry(i int64, entry uint64, size int64, env *formats.Env, once bool) (found int64) {
	bs := uint64(d.head.blockSize)
	length := min(bs, uint64(d.Size())-uint64(i)*bs) // the disk's last block may be shorter in the file
	switch s := entry & stateMask; {
	case d.head.parent != nil && i%(d.head.ratio+1) == d.head.ratio:
		bs, length = mib, mib
		if s != statePresent {
			return 0
		}
	case s == statePresent, s == statePartial && d.head.parent != nil:
	default:
		return 0
	}
	off := entry & offsetMask
	if off > math.MaxInt64-bs {
		env.ReportError("VHDX BAT entry %d offset overflow.", i)
		if found++; once {
			return found
		}
	}
	if off >= uint64(size) {
		env.ReportError("VHDX BAT entry %d start offset %d points after end of file (%d). Image has probably been truncated.",
			i, off, size)
		found++
	} else if off+length > uint64(size) {
		env.ReportError("VHDX BAT entry %d end offset %d points after end of file (%d). Image has probably been truncated.",
			i, off+length-1, size)
		found++
	}
	if s := (span{off, off + bs}); (found == 0 || !once) && !d.taken.free(s) {
		r, _ := d.taken.overlap(s)
		reportOverlap(s, r, env)
		found++
	}
	return found
}
