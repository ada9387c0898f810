package vdi

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

// differencing is an image whose blocks stand on those of another, which is named by its identifier alone.
type differencing struct {
	*image
	parent string // file name
}

// openDifferencing looks for the parent in the image's folder, and above it: VirtualBox keeps differencing images in a
// folder "Snapshots" beside the first. What is not found goes by the name that VirtualBox would have given it.
func openDifferencing(ctx context.Context, d *image, a formats.OpenArgs) (formats.Image, error) {
	c := &differencing{image: d, parent: "{" + uuidText(d.head.link) + "}.vdi"}
	if a.Beside == nil {
		return c, nil
	}
	name, err := a.Beside(ctx, func(head []byte) bool {
		return binary.LittleEndian.Uint32(head[64:]) == signature && bytes.Equal(head[atID:][:16], d.head.link[:])
	})
	if name != "" {
		c.parent = name
	}
	return c, err
}

// BackingFile is the parent.
func (c *differencing) BackingFile() (name, format string) { return c.parent, "vdi" }

// SetBacking attaches the parent, which must be the image that this one was made of. That it has another stamp than then
// is only warned of: not all programs that change an image change its stamp, and not all that do change the content.
func (c *differencing) SetBacking(f formats.File) error {
	if f == nil {
		c.backing = nil
		return nil
	}
	p, ok := formats.As[interface{ identity() (id, change [16]byte) }](f)
	if !ok {
		return qerr.New(syscall.EINVAL, "the parent of '%s' is not a VDI image", c.name)
	}
	id, change := p.identity()
	if id != c.head.link {
		return qerr.New(syscall.EINVAL, "the parent of '%s' has the identifier %s, the image was made of %s",
			c.name, uuidText(id), uuidText(c.head.link))
	}
	if c.head.hasParent && !bytes.Equal(change[:], c.head.raw[atParentChange:][:16]) {
		c.env.Warn("the parent of '%s' may have been changed since the image was made", c.name)
	}
	c.backing = f
	return nil
}

// identity is what differencing images know the image by.
func (d *image) identity() (id, change [16]byte) {
	copy(id[:], d.head.raw[atID:])
	copy(change[:], d.head.raw[atChange:])
	return id, change
}

// readParent reads what the parent has; behind its end are zeroes.
func (d *image) readParent(ctx context.Context, p []byte, off int64) error {
	if d.backing == nil {
		return qerr.New(syscall.EIO, "the parent of '%s' is not open", d.name)
	}
	n := max(min(int64(len(p)), d.backing.Size()-off), 0)
	clear(p[n:])
	if n == 0 {
		return nil
	}
	return d.backing.ReadAt(ctx, p[:n], off)
}

// stamp gives a differencing image a new stamp at its first write, which tells images that stand on it. mu is held.
func (d *image) stamp() {
	if d.head.differencing() && !d.stamped {
		putUUID(d.head.raw[atChange:][:16])
		d.stamped, d.headDirty = true, true
	}
}

// uuidText is the identifier in its usual form; its first fields are little-endian.
func uuidText(id [16]byte) string {
	le := binary.LittleEndian
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", le.Uint32(id[:]), le.Uint16(id[4:]), le.Uint16(id[6:]), id[8:10], id[10:])
}
