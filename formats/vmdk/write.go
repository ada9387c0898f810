package vmdk

import (
	"context"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

const (
	// maxCompose is how large a new grain may be, in bytes, to be put together in memory and written at once.
	maxCompose = 1 << 20
	// maxSector is the end of a sparse extent's file: table entries have 32 bits.
	maxSector = 1 << 32
)

// WriteAt overwrites what is stored and allocates grains for the rest. Compressed grains can be written whole and once.
func (d *image) WriteAt(ctx context.Context, p []byte, off int64, f formats.WriteFlags) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for len(p) > 0 {
		e := d.at(off)
		n := min(int64(len(p)), e.end()-off)
		if err := d.writeExtent(ctx, e, p[:n], off-e.start, n == int64(len(p))); err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	if f&formats.FUA != 0 {
		return d.Flush(ctx)
	}
	return d.relieve(ctx)
}

// writeExtent writes to one extent; off counts from its start. last: nothing of the request comes behind p.
func (d *image) writeExtent(ctx context.Context, e *extent, p []byte, off int64, last bool) error {
	if e.width == 8 {
		return qerr.New(syscall.ENOTSUP, "seSparse images cannot be written")
	}
	if e.compressed {
		return d.storeCompressed(ctx, e, p, off)
	}
	// Clusters that are to be compressed come before their turn, and a plain extent takes them as they are.
	turn := formats.TurnOf(ctx)
	ctx = formats.WithTurn(ctx, nil)
	if !e.flat {
		if err := turn.Await(); err != nil {
			return err
		}
	}
	if err := d.renewID(ctx); err != nil {
		return err
	}
	if e.flat {
		return e.file.WriteAt(ctx, p, e.offset+off, 0)
	}
	for len(p) > 0 {
		c, err := d.claim(ctx, e, off, int64(len(p)))
		if err != nil {
			return err
		}
		if last && c.n == int64(len(p)) {
			turn.Pass()
		}
		if c.grains == 0 {
			e.events.Raise(formats.EventWrite)
			err = e.file.WriteAt(ctx, p[:c.n], c.sector*sector+off%e.grain, 0)
		} else {
			err = d.fill(ctx, e, c, p[:c.n], off)
		}
		if err != nil {
			return err
		}
		p, off = p[c.n:], off+c.n
	}
	return nil
}

// claim is a run that is about to be written.
type claim struct {
	n      int64 // bytes of the request
	sector int64 // of the first grain, in the extent's file
	first  int64 // number of the first grain
	grains int64 // how many of them are new and in pending; 0: all are stored already
	kind   grainKind
}

// claim finds where a write at off goes, after waiting for the allocation of the first grain if somebody is at it. If
// it has no place, this caller is now the one who allocates it, and those behind it in the same table.
func (d *image) claim(ctx context.Context, e *extent, off, n int64) (claim, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := claim{first: off / e.grain}
	for d.pending[place{e.index, c.first}] {
		d.free.Wait()
	}
	g, n, err := d.run(ctx, e, off, n)
	if err != nil || g.kind == stored {
		c.n, c.sector = n, g.sector
		return c, err
	}
	if _, err := d.ownTable(ctx, e, c.first); err != nil {
		return c, err
	}
	last := min((off+n-1)/e.grain, c.first-c.first%e.tableLen+e.tableLen-1)
	for c.grains = 1; c.first+c.grains <= last && !d.pending[place{e.index, c.first + c.grains}]; {
		c.grains++
	}
	c.kind, c.n = g.kind, min(n, (c.first+c.grains)*e.grain-off)
	step := e.grain / sector
	if e.next+c.grains*step > maxSector {
		return c, qerr.New(syscall.EFBIG, "'%s' has no room for more grains", nameOf(e.file))
	}
	c.sector = e.next
	e.next += c.grains * step
	for i := range c.grains {
		d.pending[place{e.index, c.first + i}] = true
	}
	return c, nil
}

// fill writes new grains that hold p at off, and what is behind them elsewhere, and links them.
func (d *image) fill(ctx context.Context, e *extent, c claim, p []byte, off int64) error {
	ctx = formats.Committed(ctx)
	err := d.writeGrains(ctx, e, c, p, off)
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range c.grains {
		delete(d.pending, place{e.index, c.first + i})
	}
	d.free.Broadcast()
	step := e.grain / sector
	if err != nil {
		// The grains are lost unless they are the last: other allocations may have followed.
		if e.next == c.sector+c.grains*step {
			e.next = c.sector
		}
		return err
	}
	t, err := d.ownTable(ctx, e, c.first)
	for i := int64(0); err == nil && i < c.grains; i++ {
		d.set(e, t, (c.first+i)%e.tableLen, c.sector+i*step)
	}
	return err
}

// writeGrains writes whole grains around p.
func (d *image) writeGrains(ctx context.Context, e *extent, c claim, p []byte, off int64) error {
	start, size := c.first*e.grain, c.grains*e.grain
	head := off - start
	tail := size - head - int64(len(p))
	host := c.sector * sector
	if head+tail == 0 {
		e.events.Raise(formats.EventWrite)
		return e.file.WriteAt(ctx, p, host, 0)
	}
	if size <= maxCompose {
		buf := make([]byte, size)
		copy(buf[head:], p)
		err := d.readBehind(ctx, e, buf[:head], start, c.kind)
		if err == nil {
			err = d.readBehind(ctx, e, buf[size-tail:], start+size-tail, c.kind)
		}
		if err != nil {
			return err
		}
		e.events.Raise(formats.EventCOWWrite)
		return e.file.WriteAt(ctx, buf, host, 0)
	}
	err := d.copyBehind(ctx, e, start, head, host, c.kind)
	if err == nil {
		e.events.Raise(formats.EventWrite)
		err = e.file.WriteAt(ctx, p, host+head, 0)
	}
	if err == nil {
		err = d.copyBehind(ctx, e, start+size-tail, tail, host+size-tail, c.kind)
	}
	return err
}

// copyBehind writes n bytes of what is behind off, a piece at a time.
func (d *image) copyBehind(ctx context.Context, e *extent, off, n, host int64, k grainKind) error {
	buf := make([]byte, min(n, maxCompose))
	for n > 0 {
		p := buf[:min(n, maxCompose)]
		err := d.readBehind(ctx, e, p, off, k)
		if err == nil {
			e.events.Raise(formats.EventCOWWrite)
			err = e.file.WriteAt(ctx, p, host, 0)
		}
		if err != nil {
			return err
		}
		off, host, n = off+int64(len(p)), host+int64(len(p)), n-int64(len(p))
	}
	return nil
}

// readBehind is readAbsent for a part of a new grain, which may go on behind the extent's end: that is zeroes.
func (d *image) readBehind(ctx context.Context, e *extent, p []byte, off int64, k grainKind) error {
	in := max(min(int64(len(p)), e.size()-off), 0)
	clear(p[in:])
	if in == 0 {
		return nil
	}
	return d.readAbsent(ctx, p[:in], e.start+off, k)
}

// ownTable is grainTable for writing: a table that does not exist is made, and its copy's place is found. The image's
// mu is held.
func (d *image) ownTable(ctx context.Context, e *extent, g int64) (*table, error) {
	t, err := d.grainTable(ctx, e, g)
	if err != nil {
		return nil, err
	}
	number := g / e.tableLen
	if t == nil {
		return d.newTable(ctx, e, number)
	}
	if e.redundant != 0 && t.copyAt == 0 {
		at, err := d.tableOf(ctx, e, e.redundant, number)
		if err != nil {
			return nil, err
		}
		if at != t.key.off {
			t.copyAt = at
		}
	}
	return t, nil
}

// newTable puts an empty grain table, and its copy, at the end of the file. The image's mu is held.
func (d *image) newTable(ctx context.Context, e *extent, number int64) (*table, error) {
	size := e.tableLen * int64(e.width)
	sectors := (size + sector - 1) / sector
	t := &table{key: tableKey{e.index, e.next * sector, size}, raw: make([]byte, size)}
	end := e.next
	for i, directory := range []int64{e.directory, e.redundant} {
		if directory == 0 && i > 0 {
			continue
		}
		page, err := d.tables.page(ctx, e, directory, number)
		if err != nil {
			return nil, err
		}
		if end+sectors > maxSector {
			return nil, qerr.New(syscall.EFBIG, "'%s' has no room for more tables", nameOf(e.file))
		}
		if i > 0 {
			t.copyAt = end * sector
		}
		d.set(e, page, number%pageEntries, end)
		end += sectors
	}
	step := e.grain / sector
	e.next = (end + step - 1) / step * step
	d.tables.mark(t, 0, len(t.raw))
	d.tables.insert(t)
	return t, nil
}
