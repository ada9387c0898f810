package qcow2

import (
	"context"
	"runtime"
	"sync"
	"syscall"

	"platter/formats"
	"platter/formats/codec"
)

// decoder is what one goroutine needs to decompress.
type decoder struct {
	inflate codec.Inflater
	zstd    codec.ZstdDecoder
	raw     []byte
}

var decoders = sync.Pool{New: func() any { return new(decoder) }}

func sized(b *[]byte, n int64) []byte {
	if int64(cap(*b)) < n {
		*b = make([]byte, n)
	}
	return (*b)[:n]
}

// decompress fills dst, a whole cluster or with zlib the beginning of one, from raw. With zstd what lies behind dst up
// to its capacity may be overwritten, see codec.ZstdDecoder.
func (i *image) decompress(d *decoder, dst, raw []byte) error {
	var err error
	if i.hdr.compression == compressionZstd {
		err = d.zstd.Decode(dst, raw)
	} else {
		err = d.inflate.Fill(dst, raw)
	}
	if err != nil {
		return syscall.EIO // QEMU has no words for it
	}
	return nil
}

// maxBatch bounds how many compressed clusters are read together.
const maxBatch = 64

// batch is a run of compressed clusters of one request whose streams lie close together in the file.
type batch struct {
	entries  [maxBatch]uint64
	count    int
	from, to hostOff // what must be read
}

// readCompressed reads from the compressed cluster e at g, and from those that follow it if p goes on and they are near
// or known. It returns how much of p is filled.
func (i *image) readCompressed(ctx context.Context, p []byte, g guestOff, e extent) (int64, error) {
	inside := i.inCluster(int64(g))
	whole := inside == 0 && e.n == i.clusterSize
	if !whole || int64(len(p)) < 2*i.clusterSize {
		return e.n, i.readOneCompressed(ctx, p[:e.n:e.n], inside, e.entry)
	}
	if s := i.clusters.find(e.entry); s != nil {
		return i.readSlots(ctx, p, g, s)
	}
	var b batch
	if err := i.gather(ctx, &b, p, g, e); err != nil {
		return 0, err
	}
	n := int64(b.count) << i.clusterBits
	i.clusters.begin()
	defer i.endDecoding()
	if b.count == 1 {
		return n, i.decodeInto(ctx, p[:n:n], e.entry)
	}
	return n, i.readBatch(ctx, p[:n], &b)
}

// readOneCompressed reads from one cluster, p from inside on.
func (i *image) readOneCompressed(ctx context.Context, p []byte, inside int64, entry uint64) error {
	want := inside + int64(len(p))
	if i.hdr.compression == compressionZstd { // the library makes whole frames
		want = i.clusterSize
	}
	s := i.clusters.find(entry)
	if s == nil && int64(len(p)) < i.clusterSize { // what is read once and whole is not worth keeping
		s = i.clusters.obtain(entry, i.clusterSize, want)
	}
	if s != nil {
		return i.readSlot(ctx, p, inside, s)
	}
	i.clusters.begin()
	defer i.endDecoding()
	if int64(len(p)) == i.clusterSize {
		return i.decodeInto(ctx, p, entry)
	}
	cluster := make([]byte, want, i.clusterSize+codec.ZstdSlack)
	if err := i.decodeInto(ctx, cluster, entry); err != nil {
		return err
	}
	copy(p, cluster[inside:])
	return nil
}

// decodeInto decompresses the cluster of a descriptor, or what dst takes of it, for a request.
func (i *image) decodeInto(ctx context.Context, dst []byte, entry uint64) error {
	d := decoders.Get().(*decoder)
	defer decoders.Put(d)
	i.events.Raise(formats.EventReadCompressed)
	return i.decode(ctx, d, dst, entry)
}

func (i *image) decode(ctx context.Context, d *decoder, dst []byte, entry uint64) error {
	off, n := i.compressedAt(entry)
	raw := sized(&d.raw, n)
	if err := i.file.ReadAt(ctx, raw, int64(off)); err != nil {
		return err
	}
	return i.decompress(d, dst, raw)
}

// gather collects the compressed clusters from e on that p covers whole and that one read can fetch.
func (i *image) gather(ctx context.Context, b *batch, p []byte, g guestOff, e extent) error {
	off, n := i.compressedAt(e.entry)
	b.entries[0], b.count, b.from, b.to = e.entry, 1, off, off+hostOff(n)
	for b.count < maxBatch && int64(b.count+1)<<i.clusterBits <= int64(len(p)) {
		next, err := i.lookup(ctx, g+guestOff(int64(b.count)<<i.clusterBits), i.clusterSize, false)
		if err != nil || next.kind != compressed {
			return err
		}
		// In order, without large gaps: then what is read is what is used.
		last := off
		if off, n = i.compressedAt(next.entry); off < last || off > b.to+4096 || off+hostOff(n) < b.to {
			return nil
		}
		b.entries[b.count], b.to = next.entry, off+hostOff(n)
		b.count++
	}
	return nil
}

// readBatch reads the streams at once and decompresses them on all processors.
func (i *image) readBatch(ctx context.Context, p []byte, b *batch) error {
	d := decoders.Get().(*decoder)
	defer decoders.Put(d)
	raw := sized(&d.raw, int64(b.to-b.from))
	i.events.Raise(formats.EventReadCompressed)
	if err := i.file.ReadAt(ctx, raw, int64(b.from)); err != nil {
		return err
	}
	decode := func(d *decoder, from, to int) error {
		for k := from; k < to; k++ {
			off, n := i.compressedAt(b.entries[k])
			at := int64(off - b.from)
			if err := i.decompress(d, p[int64(k)<<i.clusterBits:][:i.clusterSize:i.clusterSize], raw[at:at+n]); err != nil {
				return err
			}
		}
		return nil
	}
	workers := min(runtime.GOMAXPROCS(0), b.count)
	if workers == 1 || len(p) < 64<<10 {
		return decode(d, 0, b.count)
	}
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := 1; w < workers; w++ {
		wg.Go(func() {
			own := decoders.Get().(*decoder)
			defer decoders.Put(own)
			errs[w] = decode(own, b.count*w/workers, b.count*(w+1)/workers)
		})
	}
	errs[0] = decode(d, 0, b.count/workers)
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
