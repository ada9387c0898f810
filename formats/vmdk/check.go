package vmdk

import (
	"bytes"
	"context"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

// Check finds, as QEMU does, the first grain whose place is not in its file. Where QEMU's output is not expected, it goes
// on: two grains in one place are a corruption, and a redundant copy of a grain table that differs is a finding of the
// kind that harms no data. The format is not repaired.
func (d *image) Check(ctx context.Context, fix formats.FixMode, env *formats.Env) (formats.CheckResult, error) {
	var r formats.CheckResult
	if fix != 0 {
		return r, qerr.New(syscall.ENOTSUP, "This image format does not support checks")
	}
	if d.writable {
		if err := d.flush(ctx); err != nil {
			return r, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.extents {
		if err := d.checkPlaces(ctx, e, env); err != nil {
			r.Corruptions++
			return r, err
		}
	}
	for _, e := range d.extents {
		if !env.Beyond || e.flat {
			continue
		}
		if err := d.checkShared(ctx, e, &r, env); err != nil {
			return r, err
		}
		if e.redundant == 0 {
			continue
		}
		if err := d.checkCopies(ctx, e, &r, env); err != nil {
			return r, err
		}
	}
	return r, nil
}

// checkPlaces looks at every grain of an extent.
func (d *image) checkPlaces(ctx context.Context, e *extent, env *formats.Env) error {
	size, first := e.file.Size(), e.start/sector
	after := func(n int64) error {
		env.Report("ERROR: cluster offset for sector %d points after EOF", n)
		return qerr.New(syscall.EINVAL, "Invalid argument")
	}
	if e.flat {
		if e.offset >= size {
			return after(first)
		}
		return nil
	}
	for off := int64(0); off < e.size(); {
		t, err := d.grainTable(ctx, e, off/e.grain)
		if err == nil && t == nil {
			off += e.grain * e.tableLen
			continue
		}
		var g grain
		if err == nil {
			g, err = d.lookup(ctx, e, off/e.grain)
		}
		if err != nil {
			env.Report("ERROR: could not get cluster_offset for sector %d", first+off/sector)
			return qerr.New(syscall.EPERM, "Operation not permitted")
		}
		if g.kind == stored && g.sector*sector >= size {
			return after(first + off/sector)
		}
		off += e.grain
	}
	return nil
}

// checkShared finds grains in the place of others. The places are in the file, so that its length bounds the memory.
func (d *image) checkShared(ctx context.Context, e *extent, r *formats.CheckResult, env *formats.Env) error {
	taken := make([]uint64, (e.file.Size()/sector+64)/64)
	for off := int64(0); off < e.size(); off += e.grain {
		t, err := d.grainTable(ctx, e, off/e.grain)
		if err != nil {
			return err
		}
		if t == nil {
			off += e.grain * (e.tableLen - 1 - off/e.grain%e.tableLen)
			continue
		}
		g, err := d.lookup(ctx, e, off/e.grain)
		if err != nil {
			return err
		}
		if g.kind != stored {
			continue
		}
		end := g.sector + 1 // compressed grains have a length of their own
		if !e.compressed {
			end = g.sector + e.grain/sector
		}
		shared := false
		for s := g.sector; s < end && s/64 < int64(len(taken)); s++ {
			shared = shared || taken[s/64]>>(s%64)&1 == 1
			taken[s/64] |= 1 << (s % 64)
		}
		if shared {
			env.Report("ERROR: the grain at sector %d lies in the place of another one in '%s'", (e.start+off)/sector, nameOf(e.file))
			r.Corruptions++
		}
	}
	return nil
}

// checkCopies compares the tables of an extent with their copies.
func (d *image) checkCopies(ctx context.Context, e *extent, r *formats.CheckResult, env *formats.Env) error {
	for k := range e.directoryLen {
		at, err := d.tableOf(ctx, e, e.directory, k)
		if err != nil {
			return err
		}
		copyAt, err := d.tableOf(ctx, e, e.redundant, k)
		if err != nil {
			env.Report("ERROR: redundant grain directory: %s", qerr.Text(err))
			r.Corruptions++
			continue
		}
		if at == copyAt {
			continue
		}
		same := at != 0 && copyAt != 0
		if same {
			t, err := d.tables.load(ctx, e, at, e.tableLen)
			if err != nil {
				return err
			}
			c, err := d.tables.load(ctx, e, copyAt, e.tableLen)
			if err != nil {
				return err
			}
			same = bytes.Equal(t.raw, c.raw)
		}
		if !same {
			env.Report("The redundant copy of grain table %d of '%s' differs from it", k, nameOf(e.file))
			r.Leaks++
		}
	}
	return nil
}
