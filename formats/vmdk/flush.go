package vmdk

import (
	"context"
	"encoding/binary"

	"platter/formats"
)

// maxChanged is how many changed tables a write leaves in memory.
const maxChanged = 4096

// change is a part of a table on its way to the file.
type change struct {
	t      *table
	e      *extent
	lo     int // in the table, in bytes
	data   []byte
	copyAt int64
}

// flush makes data durable, then the tables that name it, then the directory entries that name new tables.
func (d *image) flush(ctx context.Context) error {
	d.flushing.Lock()
	defer d.flushing.Unlock()
	d.mu.Lock()
	tables, pages := d.take()
	d.mu.Unlock()
	err := d.flushFiles(ctx)
	for _, step := range [][]change{tables, pages} {
		if err == nil && len(step) > 0 {
			if err = write(ctx, step); err == nil {
				err = d.flushFiles(ctx)
			}
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range append(tables, pages...) {
		c.t.busy = false
		if err != nil {
			d.tables.mark(c.t, c.lo, c.lo+len(c.data))
		}
	}
	return err
}

// take copies what has changed, in whole sectors, and marks it clean. The image's mu is held.
func (d *image) take() (tables, pages []change) {
	for _, t := range d.tables.changed {
		lo := t.lo / sector * sector
		hi := min((t.hi+sector-1)/sector*sector, len(t.raw))
		c := change{t, d.extents[t.key.extent], lo, append([]byte(nil), t.raw[lo:hi]...), t.copyAt}
		t.lo, t.hi, t.busy = 0, 0, true
		if t.page {
			pages = append(pages, c)
		} else {
			tables = append(tables, c)
		}
	}
	clear(d.tables.changed)
	return tables, pages
}

// write brings changes to the file, and to the copies of tables.
func write(ctx context.Context, changes []change) error {
	for _, c := range changes {
		c.e.events.Raise(formats.EventL2Update)
		if err := c.e.file.WriteAt(ctx, c.data, c.t.key.off+int64(c.lo), 0); err != nil {
			return err
		}
		if c.copyAt == 0 {
			continue
		}
		if err := c.e.file.WriteAt(ctx, c.data, c.copyAt+int64(c.lo), 0); err != nil {
			return err
		}
	}
	return nil
}

// flushFiles flushes the descriptor's file and the extents.
func (d *image) flushFiles(ctx context.Context) error {
	first := d.file.Flush(ctx)
	for _, e := range d.extents {
		if e.file == d.file {
			continue
		}
		if err := e.file.Flush(ctx); first == nil {
			first = err
		}
	}
	return first
}

// set changes entry i of a table or of a directory's page. The image's mu is held.
func (d *image) set(e *extent, t *table, i, v int64) {
	binary.LittleEndian.PutUint32(t.entry(e, i), uint32(v))
	d.tables.mark(t, int(i)*e.width, int(i+1)*e.width)
}

// relieve flushes where very many tables have changed.
func (d *image) relieve(ctx context.Context) error {
	d.mu.Lock()
	n := len(d.tables.changed)
	d.mu.Unlock()
	if n < maxChanged {
		return nil
	}
	return d.flush(ctx)
}
