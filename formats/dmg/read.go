package dmg

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"platter/formats/codec"
	"platter/formats/codec/adc"
	"platter/formats/codec/lzfse"
	"platter/formats/qerr"
)

// worker is what decompressing one chunk needs.
type worker struct {
	zlib  codec.Inflater
	lzfse lzfse.Decoder
	src   []byte
}

var workers = sync.Pool{New: func() any { return new(worker) }}

// keepSource is the largest buffer for stored data that a worker keeps, in bytes.
const keepSource = 2 << 20

// ReadAt spreads the chunks that a request spans over the processors.
func (d *image) ReadAt(ctx context.Context, p []byte, off int64) error {
	parts, err := d.split(p, off)
	if err != nil {
		return err
	}
	n := min(len(parts), runtime.GOMAXPROCS(0))
	if n <= 1 {
		for _, q := range parts {
			if err := d.readPart(ctx, q); err != nil {
				return err
			}
		}
		return nil
	}
	var wg sync.WaitGroup
	var next atomic.Int64
	failed := make([]error, n)
	for w := range n {
		wg.Go(func() {
			for failed[w] == nil {
				i := int(next.Add(1)) - 1
				if i >= len(parts) {
					return
				}
				failed[w] = d.readPart(ctx, parts[i])
			}
		})
	}
	wg.Wait()
	for _, err := range failed {
		if err != nil {
			return err
		}
	}
	return nil
}

// readPart reads what is wanted of one chunk. A whole chunk is decompressed where it is wanted; of another the rest is
// kept, as the next request will ask for it.
func (d *image) readPart(ctx context.Context, q part) error {
	c := &d.chunks[q.chunk]
	if c.kind == kindRaw {
		return d.readRaw(ctx, c, q)
	}
	if int64(len(q.p)) == c.size() {
		return d.decode(ctx, c, q.p)
	}
	data, err := d.cache.Get(int64(q.chunk), func() ([]byte, error) {
		dst := make([]byte, c.size())
		return dst, d.decode(ctx, c, dst)
	})
	if err == nil {
		copy(q.p, data[q.inside:])
	}
	return err
}

// readRaw reads plain data; where less is stored than the chunk has sectors, zeroes follow.
func (d *image) readRaw(ctx context.Context, c *chunk, q part) error {
	stored := min(max(int64(c.length)-q.inside, 0), int64(len(q.p)))
	clear(q.p[stored:])
	if stored == 0 {
		return nil
	}
	return d.readStored(ctx, q.p[:stored], c.offset+uint64(q.inside))
}

// decode decompresses a chunk into dst, which is as long as the chunk.
func (d *image) decode(ctx context.Context, c *chunk, dst []byte) error {
	w := workers.Get().(*worker)
	defer workers.Put(w)
	if uint32(cap(w.src)) < c.length {
		w.src = make([]byte, c.length)
	}
	src := w.src[:c.length]
	if cap(w.src) > keepSource {
		w.src = nil
	}
	if err := d.readStored(ctx, src, c.offset); err != nil {
		return err
	}
	n, err := w.run(c.kind, dst, src)
	if err == nil && n == len(dst) {
		return nil
	}
	reason := "it is too short"
	if err != nil {
		reason = err.Error()
	}
	return qerr.New(syscall.EIO, "dmg: chunk of sectors %d+%d at %d gives %d bytes of %d: %s",
		c.first, c.count, c.offset, n, len(dst), reason)
}

func (w *worker) run(kind uint32, dst, src []byte) (n int, err error) {
	switch kind {
	case kindADC:
		return adc.Decode(dst, src)
	case kindBzip2:
		return codec.Bunzip2(dst, src)
	case kindLZFSE:
		return w.lzfse.Decode(dst, src)
	case kindLZMA:
		return codec.Unxz(dst, src)
	}
	n, _, err = w.zlib.Zlib(dst, src)
	return n, err
}
