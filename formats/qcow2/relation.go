package qcow2

import (
	"context"
	"syscall"
)

// maxBackingFormat is the longest name of a backing format, in bytes.
const maxBackingFormat = 15

// ChangeBacking rewrites the name and the format of the backing file in the header; an empty name removes both. What the
// tables say is on stable storage before the header, which is when ChangeBacking returns.
func (i *image) ChangeBacking(ctx context.Context, name, format string) error {
	if err := i.usable(); err != nil {
		return err
	}
	if name != "" && i.rawExternal() || len(name) > maxBackingName {
		return syscall.EINVAL
	}
	if name == "" {
		format = ""
	}
	ctx = context.WithoutCancel(ctx)
	if err := i.commit(ctx); err != nil {
		return err
	}
	if err := i.setBackingName(name, format[:min(len(format), maxBackingFormat)]); err != nil {
		return err
	}
	return i.commit(ctx)
}

// setBackingName changes the header in memory if it has room for the names.
func (i *image) setBackingName(name, format string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	was := *i.hdr
	i.hdr.backingName, i.hdr.ext.backingFormat = name, format
	if _, err := i.hdr.encode(); err != nil {
		*i.hdr = was
		return err
	}
	i.headerDirty = true
	return nil
}
