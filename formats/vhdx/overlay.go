package vhdx

import (
	"context"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

// maxOverlay bounds the sectors of a log that are replayed in memory: 256 MiB.
const maxOverlay = 64 << 10

// overlay is the file of an image that is opened for reading with the log replayed over it in memory. It is written only
// by the replay, before anybody reads.
type overlay struct {
	formats.File
	size    int64
	sectors map[int64][]byte // by offset
	zeroes  []span           // the sectors, which were written later, lie over them
}

func newOverlay(f formats.File) *overlay {
	return &overlay{File: f, size: f.Size(), sectors: map[int64][]byte{}}
}

func (o *overlay) Size() int64 { return o.size }

func (o *overlay) Truncate(_ context.Context, size int64, _ formats.Prealloc) error {
	o.size = size
	return nil
}

func (o *overlay) Flush(context.Context) error { return nil }

// WriteAt keeps one sector of the log.
func (o *overlay) WriteAt(_ context.Context, p []byte, off int64, _ formats.WriteFlags) error {
	if len(o.sectors) >= maxOverlay {
		return qerr.New(syscall.EFBIG, "VHDX log is too large to be replayed in memory")
	}
	o.sectors[off] = p
	o.size = max(o.size, off+int64(len(p)))
	return nil
}

// WriteZeroes keeps a range of zeroes, a multiple of sectors.
func (o *overlay) WriteZeroes(_ context.Context, off, n int64, _ formats.WriteFlags) error {
	if len(o.zeroes) >= maxOverlay {
		return qerr.New(syscall.EFBIG, "VHDX log is too large to be replayed in memory")
	}
	for at := range o.sectors {
		if at >= off && at < off+n {
			delete(o.sectors, at)
		}
	}
	o.zeroes = append(o.zeroes, span{uint64(off), uint64(off + n)})
	o.size = max(o.size, off+n)
	return nil
}

// ReadAt reads the file, and over it what the log has.
func (o *overlay) ReadAt(ctx context.Context, p []byte, off int64) error {
	held := max(min(int64(len(p)), o.File.Size()-off), 0)
	clear(p[held:])
	if held > 0 {
		if err := o.File.ReadAt(ctx, p[:held], off); err != nil {
			return err
		}
	}
	end := off + int64(len(p))
	for _, z := range o.zeroes {
		if from, to := max(off, int64(z.start)), min(end, int64(z.end)); from < to {
			clear(p[from-off : to-off])
		}
	}
	for at := off &^ (logSector - 1); at < end; at += logSector {
		if s := o.sectors[at]; s != nil {
			skip := max(off-at, 0)
			copy(p[at+skip-off:], s[skip:])
		}
	}
	return nil
}
