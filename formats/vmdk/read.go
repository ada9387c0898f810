package vmdk

import (
	"context"

	"platter/formats"
)

func (d *image) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for len(p) > 0 {
		e := d.at(off)
		n := min(int64(len(p)), e.end()-off)
		var err error
		if e.flat {
			err = e.file.ReadAt(ctx, p[:n], e.offset+off-e.start)
		} else {
			err = d.readSparse(ctx, e, p[:n], off-e.start)
		}
		if err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// readSparse reads from one sparse extent; off counts from the extent's start.
func (d *image) readSparse(ctx context.Context, e *extent, p []byte, off int64) error {
	if e.compressed {
		return d.readCompressed(ctx, e, p, off)
	}
	for len(p) > 0 {
		d.mu.Lock()
		g, n, err := d.run(ctx, e, off, int64(len(p)))
		d.mu.Unlock()
		if err != nil {
			return err
		}
		if g.kind == stored {
			e.events.Raise(formats.EventRead)
			err = e.file.ReadAt(ctx, p[:n], g.sector*sector+off%e.grain)
		} else {
			err = d.readAbsent(ctx, p[:n], e.start+off, g.kind)
		}
		if err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// readAbsent reads what no grain of this disk holds; off counts from the disk's start.
func (d *image) readAbsent(ctx context.Context, p []byte, off int64, k grainKind) error {
	if k == missing {
		back, err := d.behind(ctx)
		if err != nil {
			return err
		}
		if back != nil {
			n := max(min(int64(len(p)), back.Size()-off), 0) // a parent may be shorter
			clear(p[n:])
			if n == 0 {
				return nil
			}
			return back.ReadAt(ctx, p[:n], off)
		}
	}
	clear(p)
	return nil
}

// Status stops at every stored grain, as QEMU's driver does; the callers merge.
func (d *image) Status(ctx context.Context, off, n int64) (formats.Extent, error) {
	e := d.at(off)
	n = min(n, e.end()-off)
	off -= e.start
	if e.flat {
		return formats.Extent{Len: n, State: formats.Data | formats.Recurse, Where: e.file, Offset: e.offset + off}, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	// Within one grain table: that is enough, and bounded.
	n = min(n, e.grain*e.tableLen-off%(e.grain*e.tableLen))
	g, run, err := d.run(ctx, e, off, n)
	switch {
	case err != nil:
		return formats.Extent{}, err
	case g.kind == missing:
		return formats.Extent{Len: run}, nil
	case g.kind == zeroes:
		return formats.Extent{Len: run, State: formats.Zero}, nil
	}
	n = min(n, e.grain-off%e.grain)
	if e.compressed {
		return formats.Extent{Len: n, State: formats.Data | formats.Compressed}, nil
	}
	return formats.Extent{Len: n, State: formats.Data, Where: e.file, Offset: g.sector*sector + off%e.grain}, nil
}
