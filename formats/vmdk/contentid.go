package vmdk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

// newID draws a content ID of eight digits, so that renewing it does not move the text behind it.
func newID() uint32 { return 1<<28 + rand.Uint32N(0xf0000000-1) }

// renewID gives the disk another content ID, once after each open, before anything else is written: whoever has it as
// its parent can tell that it has changed.
func (d *image) renewID(ctx context.Context) error {
	d.ids.Lock()
	defer d.ids.Unlock()
	if d.idRenewed {
		return nil
	}
	id := newID()
	if err := d.writeID(ctx, "CID", id); err != nil {
		return err
	}
	d.cid, d.idRenewed = id, true
	return nil
}

// AdoptBacking gives the parent another content ID and makes it the one that the disk expects of its parent; a file that is
// not the parent is an error. If one of the two writes fails, both are undone. A loss of power between them leaves IDs that differ.
func (d *image) AdoptBacking(ctx context.Context) error {
	if _, err := d.behind(ctx); err != nil {
		return err
	}
	p, ok := formats.As[*image](d.backing)
	if !ok {
		return nil
	}
	err := p.renewID(ctx)
	d.ids.Lock()
	defer d.ids.Unlock()
	if err == nil {
		err = d.writeID(ctx, "parentCID", p.cid)
	}
	if err != nil {
		return errors.Join(err, p.writeID(ctx, "CID", d.parentCID), d.writeID(ctx, "parentCID", d.parentCID))
	}
	d.parentCID, d.parentFits = p.cid, false
	return nil
}

// writeID puts a content ID into the descriptor, and onto stable storage.
func (d *image) writeID(ctx context.Context, key string, id uint32) error {
	text, err := d.text(ctx)
	if err != nil {
		return err
	}
	_, at, digits, ok := contentID(text, key)
	if !ok {
		return qerr.New(syscall.EINVAL, "'%s' has no content ID", d.name)
	}
	now := []byte(fmt.Sprintf("%s%08x%s", text[:at], id, text[at+digits:]))
	if err := d.writeText(ctx, []byte(text), now); err != nil {
		return err
	}
	return d.file.Flush(ctx)
}

// writeText replaces the descriptor: the sectors that differ. A file of its own becomes a multiple of sectors long, as
// QEMU leaves it.
func (d *image) writeText(ctx context.Context, was, now []byte) error {
	if d.textAt != 0 && len(now) > descriptorArea {
		return qerr.New(syscall.ENOSPC, "The descriptor of '%s' has no room for a new content ID", d.name)
	}
	n := (max(len(was), len(now)) + sector - 1) / sector * sector
	before, after := make([]byte, n), make([]byte, n)
	copy(before, was)
	copy(after, now)
	lo, hi := 0, n
	for lo+sector < hi && bytes.Equal(before[lo:lo+sector], after[lo:lo+sector]) {
		lo += sector
	}
	short := d.textAt == 0 && len(was)%sector != 0
	for !short && hi > lo+sector && bytes.Equal(before[hi-sector:hi], after[hi-sector:hi]) {
		hi -= sector
	}
	return d.file.WriteAt(ctx, after[lo:hi], d.textAt+int64(lo), 0)
}
