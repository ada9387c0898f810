package qcow2

import (
	"context"
	"sync"
	"syscall"

	"platter/formats"
	"platter/formats/internal/tablecache"
	"platter/formats/qerr"
)

// view is a snapshot opened for reading. It has tables and caches of its own: nothing that a snapshot refers to changes
// in the file as long as the snapshot is there, but for COPIED flags, which a reader does not look at.
type view struct {
	img    *image
	parent *image
	of     *snapshot
	closed sync.Once
}

// viewSlices is how many slices of L2 tables a view caches.
const viewSlices = 64

// OpenSnapshot opens a snapshot for reading. The view has the size that the disk had then.
func (i *image) OpenSnapshot(ctx context.Context, id, name string) (formats.Image, error) {
	if err := i.usable(); err != nil {
		return nil, err
	}
	if i.external() {
		return nil, syscall.ENOTSUP
	}
	i.mu.Lock()
	k := i.snapshots.find(id, name)
	if k < 0 {
		i.mu.Unlock()
		return nil, qerr.New(syscall.ENOENT, "Can't find snapshot")
	}
	s := i.snapshots.list[k]
	s.views++ // keeps it from being deleted
	i.mu.Unlock()
	v, err := i.viewOf(ctx, s)
	if err != nil {
		i.leaveView(s)
		return nil, err
	}
	return v, nil
}

func (i *image) viewOf(ctx context.Context, s *snapshot) (*view, error) {
	l1, err := i.snapshotL1(ctx, s)
	if err != nil {
		return nil, qerr.Prepend(err, "Failed to read l1 table for snapshot: ")
	}
	if s.DiskSize < 0 {
		return nil, qerr.New(syscall.EINVAL, "the disk size of snapshot '%s' is invalid", s.Name)
	}
	h := *i.hdr
	h.size, h.l1Size, h.l1Offset = uint64(s.DiskSize), uint32(s.l1Size), uint64(s.l1Offset)
	c := &image{name: i.name, file: i.file, data: i.data, backing: i.backing, flags: i.flags &^ formats.ReadWrite,
		env: i.env, opts: i.opts, hdr: &h, cipher: i.cipher, l1: l1}
	c.linked = sync.NewCond(&c.mu)
	c.setGeometry()
	c.sliceBits = i.sliceBits
	c.vmStateAt = guestOff(c.l1SizeFor(s.DiskSize) << (c.clusterBits + c.l2Bits))
	c.l2 = tablecache.New(c.opts.sliceSize, viewSlices)
	c.refBlocks = tablecache.New(int(c.clusterSize), minRefTables)
	c.refTable = nil // a view allocates nothing
	return &view{img: c, parent: i, of: s}, nil
}

func (i *image) leaveView(s *snapshot) {
	i.mu.Lock()
	defer i.mu.Unlock()
	s.views--
}

// Size is the disk's size when the snapshot was taken, in bytes.
func (v *view) Size() int64 { return v.img.Size() }

// Stretch gives the view another size, in bytes.
func (v *view) Stretch(size int64) {
	v.img.hdr.size = uint64(size)
	v.img.size.Store(size)
}

// Limits are those of reads.
func (v *view) Limits() formats.Limits { return v.img.Limits() }

// ReadAt reads the disk as it was.
func (v *view) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := v.parent.usable(); err != nil {
		return err
	}
	return v.img.ReadAt(ctx, p, off)
}

// Status describes a run of the disk as it was.
func (v *view) Status(ctx context.Context, off, n int64) (formats.Extent, error) {
	if v.img.recurse.Load() == 0 {
		holes := int32(1)
		if v.parent.mayHaveHoles(ctx) {
			holes = 2
		}
		v.img.recurse.Store(holes)
	}
	return v.img.Status(ctx, off, n)
}

// Info gives the sizes that tools ask for.
func (v *view) Info(ctx context.Context) (formats.Info, error) { return v.img.Info(ctx) }

// Flush has nothing to do.
func (v *view) Flush(context.Context) error { return nil }

// BackingFile gives what the header of the image says.
func (v *view) BackingFile() (name, format string) { return v.img.BackingFile() }

// SetBacking attaches the backing file.
func (v *view) SetBacking(f formats.File) error { return v.img.SetBacking(f) }

// ReadVMState reads the state of the virtual machine, which lies behind the disk. What is not there is zeroes.
func (v *view) ReadVMState(ctx context.Context, p []byte, off int64) error {
	i := v.img
	if room := int64(len(i.l1))<<(i.clusterBits+i.l2Bits) - int64(i.vmStateAt); off < 0 || off+int64(len(p)) > max(room, 0) {
		return qerr.New(syscall.EINVAL, "offset %d is no place in the VM state", off)
	}
	return i.readState(ctx, p, i.vmStateAt+guestOff(off))
}

// readState reads behind the disk's end, where no backing file shows through.
func (i *image) readState(ctx context.Context, p []byte, g guestOff) error {
	for len(p) > 0 {
		e, err := i.lookupLong(ctx, g, int64(len(p)), false)
		switch {
		case err != nil:
		case e.kind == compressed:
			e.n, err = i.readCompressed(ctx, p, g, e)
		case e.kind == normal:
			err = i.readData(ctx, p[:e.n], g, e.host)
		default:
			clear(p[:e.n])
		}
		if err != nil {
			return err
		}
		p, g = p[e.n:], g+guestOff(e.n)
	}
	return nil
}

// Close gives the snapshot back.
func (v *view) Close() error {
	v.closed.Do(func() { v.parent.leaveView(v.of) })
	return nil
}
