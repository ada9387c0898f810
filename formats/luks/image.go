package luks

import (
	"context"
	"math"
	"sync"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

const (
	sectorSize = 512
	// maxPiece is the most that is in flight between the file and the cipher, in bytes.
	maxPiece = 1 << 20
)

// pieces holds the buffers in which written data is encrypted.
var pieces = sync.Pool{New: func() any { b := make([]byte, maxPiece); return &b }}

// Size is the length of the payload, in whole encryption sectors.
func (d *image) Size() int64 {
	n := d.file.Size() - d.payload
	if d.v2 != nil && d.v2.PayloadLen() >= 0 {
		n = d.v2.PayloadLen()
	}
	return max(n, 0) / d.sector() * d.sector()
}

// sector is the number of bytes that are encrypted as one.
func (d *image) sector() int64 {
	if d.block == nil {
		return sectorSize
	}
	return int64(d.block.SectorSize())
}

// Limits: a request is whole encryption sectors. What was never written reads as noise, so ZeroInit is not set.
func (d *image) Limits() formats.Limits { return formats.Limits{Align: d.sector()} }

// ready refuses data requests to an image that was opened for its metadata.
func (d *image) ready() error {
	if d.block == nil {
		return qerr.New(syscall.EINVAL, "luks: the image was opened without its key")
	}
	return nil
}

// ReadAt reads into the caller's buffer and decrypts there. The file is asked in pieces so that a piece is still in the
// processor's cache when it is decrypted.
func (d *image) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := d.ready(); err != nil {
		return err
	}
	for len(p) > 0 {
		n := min(len(p), maxPiece)
		if err := d.file.ReadAt(ctx, p[:n], d.payload+off); err != nil {
			return err
		}
		if err := d.block.Decrypt(uint64(off), p[:n]); err != nil {
			return err
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// WriteAt encrypts a copy: the caller's buffer stays as it is.
func (d *image) WriteAt(ctx context.Context, p []byte, off int64, f formats.WriteFlags) error {
	if err := d.ready(); err != nil {
		return err
	}
	buf := pieces.Get().(*[]byte)
	defer pieces.Put(buf)
	for len(p) > 0 {
		q := (*buf)[:copy(*buf, p)]
		if err := d.block.Encrypt(uint64(off), q); err != nil {
			return err
		}
		if err := d.file.WriteAt(ctx, q, d.payload+off, f&formats.FUA); err != nil {
			return err
		}
		p, off = p[len(q):], off+int64(len(q))
	}
	return nil
}

// Status calls everything data, as QEMU does: nothing is known without decrypting, and a hole in the file is noise.
func (d *image) Status(_ context.Context, _, n int64) (formats.Extent, error) {
	return formats.Extent{Len: n, State: formats.Data}, nil
}

// Truncate changes the length of the payload. What is added reads as noise.
func (d *image) Truncate(ctx context.Context, size int64, pre formats.Prealloc) error {
	if d.v2 != nil && d.v2.PayloadLen() >= 0 {
		return qerr.New(syscall.ENOTSUP, "Cannot resize a LUKS2 container whose segment has a fixed size")
	}
	if size > math.MaxInt64-d.payload {
		return qerr.New(syscall.EFBIG, "The requested file size is too large")
	}
	return d.file.Truncate(ctx, size+d.payload, pre)
}

func (d *image) Flush(ctx context.Context) error { return d.file.Flush(ctx) }

func (d *image) Close() error { return d.file.Flush(context.Background()) }
