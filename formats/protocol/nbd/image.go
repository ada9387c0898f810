package nbd

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"platter/formats"
	"platter/formats/qerr"
)

// image is a connected export.
type image struct {
	to       target
	size     uint64
	flags    uint16
	patience time.Duration // how long a broken connection is tried to be mended
	dirty    bool          // block status is that of a dirty bitmap: x-dirty-bitmap
	wrote    atomic.Bool

	conn    atomic.Pointer[client]
	mending sync.Mutex
}

// do sends a command over the connection there is, and over a new one if that breaks and may be mended.
func (d *image) do(ctx context.Context, r *request, flags uint16, payload []byte) error {
	for {
		c := d.conn.Load()
		r.err = nil
		err := c.do(ctx, r, flags, payload)
		since, broken := c.brokenSince()
		if err == nil || !broken || d.patience == 0 || ctx.Err() != nil || !d.mend(ctx, c, since.Add(d.patience)) {
			return err
		}
	}
}

// mend replaces a broken connection, unless another request did so already.
func (d *image) mend(ctx context.Context, c *client, until time.Time) bool {
	d.mending.Lock()
	defer d.mending.Unlock()
	if d.conn.Load() != c {
		return true
	}
	s, err := d.to.connect(ctx, time.Until(until))
	if err != nil {
		return false
	}
	if s.size != d.size || s.flags != d.flags {
		s.conn.Close()
		return false
	}
	d.conn.Store(newClient(s))
	return true
}

// FileName is the URI of the export.
func (d *image) FileName() string { return d.to.addr.uri() }

func (d *image) Size() int64 { return int64(d.size & (1<<63 - 1)) }

func (d *image) has(flag uint16) bool { return d.flags&flag != 0 }

// session is what was agreed upon when the present connection was made.
func (d *image) session() *session { return d.conn.Load().s }

// Limits are what the server asks for.
func (d *image) Limits() formats.Limits {
	l := formats.Limits{Align: 1, MaxTransfer: maxTransfer, ZeroUnmap: d.has(flagWriteZeroes)}
	if s := d.session(); s.minBlock > 0 {
		l.Align = int64(s.minBlock)
		l.MaxTransfer = max(min(int64(s.maxBlock), maxTransfer), l.Align)
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
	told := d.conn.Load().toldBroken()
	err := d.do(ctx, &request{kind: cmdFlush}, 0, nil)
	if err != nil && told {
		return syscall.EIO // the write that failed has the words; a verb that it ended does not say them twice
	}
	return err
}

// Truncate refuses: the size is the server's.
func (d *image) Truncate(_ context.Context, size int64, _ formats.Prealloc) error {
	if size == d.Size() {
		return nil
	}
	return qerr.New(syscall.ENOTSUP, "Cannot resize NBD nodes")
}

// TooSmall is why the export cannot take an image larger than itself.
func (d *image) TooSmall() error { return qerr.New(syscall.ENOTSUP, "Cannot grow NBD nodes") }

// StatusOfPadding is what lies between the end of the export and the end of its last sector.
func (d *image) StatusOfPadding() formats.Extent {
	return formats.Extent{Len: 512 - d.Size()%512, State: formats.Zero | formats.Unplaced}
}

// Status asks for block status; without it everything is data.
func (d *image) Status(ctx context.Context, off, n int64) (formats.Extent, error) {
	all := formats.Extent{Len: n, State: formats.Data, Offset: off}
	if !d.session().hasMeta {
		return all, nil
	}
	if off >= d.Size() {
		return d.StatusOfPadding(), nil
	}
	var first []byte
	r := &request{kind: cmdBlockStatus, off: off, n: min(n, d.Limits().MaxTransfer, d.Size()-off)}
	r.status = func(id uint32, extents []byte) {
		if id == d.session().metaID && first == nil {
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
	d.conn.Load().close()
	return err
}
