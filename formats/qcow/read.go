package qcow

import (
	"context"
	"sync"
	"syscall"

	"platter/formats"
	"platter/formats/codec"
	"platter/formats/internal/chunkcache"
)

// decoder is what one goroutine needs to decompress.
type decoder struct {
	inflate codec.Inflater
	raw     []byte
}

var decoders = sync.Pool{New: func() any { return new(decoder) }}

func newDecoded() *chunkcache.Cache { return chunkcache.New(decodeCache) }

// maxEntries bounds the entries that are looked at in one go, under the lock: a header can say that there are 2⁴¹ of them.
const maxEntries = 1 << 16

// run finds a run from off, at most n bytes, whose clusters are contiguous in the file or all unallocated. A compressed
// cluster is a run of its own. The lock is held.
func (d *image) run(ctx context.Context, off, n int64) (entry uint64, length int64, err error) {
	if entry, err = d.entry(ctx, off); err != nil {
		return 0, 0, err
	}
	length = min(n, d.clusterSize-off&(d.clusterSize-1))
	if entry&flagCompressed != 0 {
		return entry, length, nil
	}
	for want, k := entry, 0; length < n && k < maxEntries; k++ {
		next, err := d.entry(ctx, off+length)
		if want != 0 {
			want += uint64(d.clusterSize)
		}
		if err != nil || next != want {
			break // what is wrong with the next cluster is told when it is its turn
		}
		length += min(n-length, d.emptySpan(ctx, off+length, next))
	}
	return entry, length, nil
}

// emptySpan is the length from off, where a cluster begins, that an entry speaks for: to the end of the L2 table if there
// is none.
func (d *image) emptySpan(ctx context.Context, off int64, entry uint64) int64 {
	if entry == 0 {
		if t, err := d.l2At(ctx, off); err == nil && t == nil {
			span := d.clusterSize << d.head.l2Bits
			return span - off%span
		}
	}
	return d.clusterSize
}

// ReadAt reads runs of clusters.
func (d *image) ReadAt(ctx context.Context, p []byte, off int64) error {
	for len(p) > 0 {
		d.mu.Lock()
		entry, n, err := d.run(ctx, off, int64(len(p)))
		d.mu.Unlock()
		if err == nil {
			err = d.readRun(ctx, p[:n], off, entry)
		}
		if err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// readRun reads the run that begins with the cluster of entry.
func (d *image) readRun(ctx context.Context, p []byte, off int64, entry uint64) error {
	inside := off & (d.clusterSize - 1)
	switch {
	case entry == 0:
		return d.readBacking(ctx, p, off)
	case entry&flagCompressed != 0:
		return d.readCompressed(ctx, p, inside, entry)
	}
	d.events.Raise(formats.EventRead)
	if err := d.file.ReadAt(ctx, p, int64(entry)+inside); err != nil || d.cipher == nil {
		return err
	}
	return d.cipher.Decrypt(uint64(off), p)
}

// readBacking reads what lies behind this layer: zeroes past the end of the backing file.
func (d *image) readBacking(ctx context.Context, p []byte, off int64) error {
	n := int64(0)
	if d.backing != nil {
		n = min(max(d.backing.Size()-off, 0), int64(len(p)))
	}
	clear(p[n:])
	if n == 0 {
		return nil
	}
	d.events.Raise(formats.EventReadBacking)
	return d.backing.ReadAt(ctx, p[:n], off)
}

// readCompressed reads from one compressed cluster; one that is read in parts is kept.
func (d *image) readCompressed(ctx context.Context, p []byte, inside int64, entry uint64) error {
	if int64(len(p)) == d.clusterSize {
		return d.decompress(ctx, p, entry)
	}
	cluster, err := d.decoded.Get(int64(entry&^flagCompressed), func() ([]byte, error) {
		c := make([]byte, d.clusterSize)
		return c, d.decompress(ctx, c, entry)
	})
	if err == nil {
		copy(p, cluster[inside:])
	}
	return err
}

// decompress fills dst, a whole cluster, from the stream that entry describes.
func (d *image) decompress(ctx context.Context, dst []byte, entry uint64) error {
	off, n := d.compressedAt(entry)
	dec := decoders.Get().(*decoder)
	defer decoders.Put(dec)
	if int64(cap(dec.raw)) < n {
		dec.raw = make([]byte, d.clusterSize)
	}
	raw := dec.raw[:n]
	if n > 0 {
		d.events.Raise(formats.EventReadCompressed)
		if err := d.file.ReadAt(ctx, raw, off); err != nil {
			return err
		}
	}
	if dec.inflate.Fill(dst, raw) != nil {
		return syscall.EIO // QEMU has no words for it
	}
	return nil
}
