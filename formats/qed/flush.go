package qed

import (
	"context"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

// writeHeader writes the fields of the header. The caller holds mu.
func (d *image) writeHeader(ctx context.Context) error {
	return d.file.WriteAt(ctx, d.head.bytes(), 0, 0)
}

// Flush makes data, then the L2 tables, then the L1 table durable.
func (d *image) Flush(ctx context.Context) error { return d.flush(context.WithoutCancel(ctx)) }

func (d *image) flush(ctx context.Context) error {
	d.flushing.Lock()
	defer d.flushing.Unlock()
	d.mu.Lock()
	pages := d.tables.take()
	d.mu.Unlock()
	err := d.store(ctx, pages)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.tables.putBack(pages)
		return err
	}
	d.tables.written(pages)
	return d.unmark(ctx)
}

// store writes pages of tables, in order. What they name was written before they were taken.
func (d *image) store(ctx context.Context, pages []taken) error {
	if err := d.file.Flush(ctx); err != nil {
		return err
	}
	for _, l1 := range []bool{false, true} {
		written := false
		for _, p := range pages {
			if p.l1 != l1 {
				continue
			}
			written = true
			if l1 {
				d.events.Raise(formats.EventL1Update)
			} else {
				d.events.Raise(formats.EventL2Update)
			}
			if err := d.file.WriteAt(ctx, p.raw, p.at, 0); err != nil {
				return err
			}
		}
		if !written {
			continue
		}
		if err := d.file.Flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

// unmark clears the need-check bit that this image set, if nothing is left to write. It need not be durable: the bit
// only asks for a check too many. The caller holds mu.
func (d *image) unmark(ctx context.Context) error {
	if !d.marked || d.tables.dirty > 0 || len(d.pending) > 0 {
		return nil
	}
	d.head.Features &^= featNeedCheck
	if err := d.writeHeader(ctx); err != nil {
		d.head.Features |= featNeedCheck
		return err
	}
	d.marked = false
	return nil
}

// Close writes what is not yet in the file.
func (d *image) Close() error {
	if !d.writable {
		return nil
	}
	ctx := context.Background()
	d.mu.Lock()
	marked := d.marked
	d.mu.Unlock()
	if err := d.flush(ctx); err != nil {
		return err
	}
	if marked {
		return d.file.Flush(ctx)
	}
	return nil
}

// Truncate makes the disk larger: only the header changes.
func (d *image) Truncate(ctx context.Context, size int64, pre formats.Prealloc) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case pre != formats.PreallocOff:
		return qerr.New(syscall.ENOTSUP, "Unsupported preallocation mode '%s'", pre)
	case size < 0 || !d.head.validSize(uint64(size)):
		return qerr.New(syscall.EINVAL, "Invalid image size specified")
	case size < d.Size():
		return qerr.New(syscall.ENOTSUP, "Shrinking images is currently not supported")
	}
	old := d.head.ImageSize
	d.head.ImageSize = uint64(size)
	if err := d.writeHeader(context.WithoutCancel(ctx)); err != nil {
		d.head.ImageSize = old
		return qerr.Errno(qerr.Of(err), "Failed to update the image size")
	}
	d.size.Store(size)
	return nil
}

// OnlyGrows says that Truncate refuses to make the disk smaller.
func (d *image) OnlyGrows() {}

// ChangeBacking writes another name for the backing file behind the header. Of the format only "raw" can be told.
func (d *image) ChangeBacking(ctx context.Context, name, format string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	// What lies behind the header is unknown if an unknown feature is in use.
	if name != "" && d.head.Compat != 0 {
		return syscall.ENOTSUP
	}
	if len(name) > maxBackingName || headerSize+uint64(len(name)) > uint64(d.head.HeaderSize)*uint64(d.head.ClusterSize) {
		return syscall.ENOSPC
	}
	h := d.head
	h.setBacking(name, format)
	if name == "" {
		h.BackingOffset = headerSize
	}
	ctx = context.WithoutCancel(ctx)
	if err := d.file.WriteAt(ctx, append(h.bytes(), name...), 0, 0); err != nil {
		return err
	}
	d.head, d.backingName = h, name
	return d.file.Flush(ctx)
}
