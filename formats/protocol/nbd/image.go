package nbd

import (
	"context"
	"encoding/binary"
	"errors"
	"sync/atomic"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

// image is a connected export.
type image struct {
	*client
	addr  address
	wrote atomic.Bool
	dirty bool // block status is that of a dirty bitmap: x-dirty-bitmap
}

func newImage(a address, s *session, dirty bool) *image {
	return &image{client: newClient(s), addr: a, dirty: dirty}
}

// FileName is the URI of the export.
func (d *image) FileName() string { return d.addr.uri() }

func (d *image) Size() int64 { return int64(d.s.size & (1<<63 - 1)) }

func (d *image) has(flag uint16) bool { return d.s.flags&flag != 0 }

// Limits are what the server asks for.
func (d *image) Limits() formats.Limits {
	l := formats.Limits{Align: 1, MaxTransfer: maxTransfer, ZeroUnmap: d.has(flagWriteZeroes)}
	if d.s.minBlock > 0 {
		l.Align = int64(d.s.minBlock)
		l.MaxTransfer = max(min(int64(d.s.maxBlock), maxTransfer), l.Align)
	}
	return l
}

func (d *image) ReadAt(ctx context.Context, p []byte, off int64) error {
	// Bytes past the end of an export whose size is no multiple of its block size cannot be asked for.
	if over := off + int64(len(p)) - d.Size(); over > 0 {
		keep := max(int64(len(p))-over, 0)
		clear(p[keep:])
		if p = p[:keep]; len(p) == 0 {
			return nil
		}
	}
	return d.do(ctx, &request{kind: cmdRead, off: off, n: int64(len(p)), into: p}, 0, nil)
}

func (d *image) WriteAt(ctx context.Context, p []byte, off int64, f formats.WriteFlags) error {
	if d.has(flagReadOnly) {
		return qerr.New(syscall.EPERM, "the NBD export is read-only")
	}
	d.wrote.Store(true)
	flags, after := d.fua(f)
	err := d.do(ctx, &request{kind: cmdWrite, off: off, n: int64(len(p))}, flags, p)
	if err == nil && after {
		err = d.Flush(ctx)
	}
	return err
}

// fua gives the flag of a write that must be durable, or asks for a flush after it where the server has no such flag.
func (d *image) fua(f formats.WriteFlags) (flags uint16, flush bool) {
	switch {
	case f&formats.FUA == 0:
		return 0, false
	case d.has(flagFUA):
		return cmdFlagFUA, false
	}
	return 0, true
}

// WriteZeroes asks the server for zeroes; without MayUnmap they are to be allocated.
func (d *image) WriteZeroes(ctx context.Context, off, n int64, f formats.WriteFlags) error {
	if d.has(flagReadOnly) {
		return qerr.New(syscall.EPERM, "the NBD export is read-only")
	}
	if !d.has(flagWriteZeroes) {
		return syscall.ENOTSUP
	}
	d.wrote.Store(true)
	flags, after := d.fua(f)
	if f&formats.MayUnmap == 0 {
		flags |= cmdFlagNoHole
	}
	if f&formats.NoFallback != 0 && d.has(flagFastZero) {
		flags |= cmdFlagFastZero
	}
	err := d.do(ctx, &request{kind: cmdWriteZeroes, off: off, n: n}, flags, nil)
	if err == nil && after {
		err = d.Flush(ctx)
	}
	return err
}

// Discard trims.
func (d *image) Discard(ctx context.Context, off, n int64) error {
	if !d.has(flagTrim) || d.has(flagReadOnly) {
		return syscall.ENOTSUP
	}
	d.wrote.Store(true)
	return d.do(ctx, &request{kind: cmdTrim, off: off, n: n}, 0, nil)
}

func (d *image) Flush(ctx context.Context) error {
	if !d.has(flagFlush) {
		return nil
	}
	return d.do(ctx, &request{kind: cmdFlush}, 0, nil)
}

// Truncate refuses: the size is the server's.
func (d *image) Truncate(_ context.Context, size int64, _ formats.Prealloc) error {
	if size == d.Size() {
		return nil
	}
	return qerr.New(syscall.ENOTSUP, "Cannot resize NBD nodes")
}

// Status asks for block status; without it everything is data.
func (d *image) Status(ctx context.Context, off, n int64) (formats.Extent, error) {
	all := formats.Extent{Len: n, State: formats.Data, Offset: off}
	if !d.s.hasMeta {
		return all, nil
	}
	var first []byte
	r := &request{kind: cmdBlockStatus, off: off, n: min(n, d.Limits().MaxTransfer, d.Size()-off)}
	r.status = func(id uint32, extents []byte) {
		if id == d.s.metaID && first == nil {
			first = extents[:8]
		}
	}
	if err := d.do(ctx, r, cmdFlagReqOne, nil); err != nil {
		if errors.Is(err, syscall.EINVAL) {
			return all, nil
		}
		return all, err
	}
	if first == nil {
		return all, nil
	}
	length, flags := int64(binary.BigEndian.Uint32(first)), binary.BigEndian.Uint32(first[4:])
	if length == 0 {
		return all, protocolError("a block status of no length")
	}
	return formats.Extent{Len: min(length, n), State: d.state(flags), Offset: off}, nil
}

// state reads the flags of base:allocation: 1 hole, 2 zero. A dirty bitmap's dirty parts are shown as holes, as QEMU's
// x-dirty-bitmap does.
func (d *image) state(flags uint32) formats.State {
	if d.dirty {
		if flags != 0 {
			return 0
		}
		return formats.Data
	}
	s := formats.State(0)
	if flags&1 == 0 {
		s |= formats.Data
	}
	if flags&2 != 0 {
		s |= formats.Zero
	}
	return s
}

// Close flushes what was written and ends the connection.
func (d *image) Close() error {
	var err error
	if d.wrote.Load() {
		err = d.Flush(context.Background())
	}
	d.client.close()
	return err
}
