package vmdk

import (
	"context"
	"encoding/binary"
	"runtime"
	"sync"
	"syscall"

	"platter/formats"
	"platter/formats/codec"
	"platter/formats/qerr"
)

const (
	markerSize = 12 // before a compressed grain: its first sector in the disk, and the length of its data
	// decodedBytes is how much of decompressed grains is kept, and maxBatch how many grains are decompressed side by side.
	decodedBytes = 4 << 20
	maxBatch     = 64
)

// decoder is what one goroutine needs to decompress.
type decoder struct {
	inflate codec.Inflater
	raw     []byte
}

var decoders = sync.Pool{New: func() any { return new(decoder) }}

func sized(b *[]byte, n int64) []byte {
	if int64(cap(*b)) < n {
		*b = make([]byte, n)
	}
	return (*b)[:n]
}

// piece is a compressed grain that a request covers from its beginning to its end.
type piece struct {
	g    grain
	hint int64 // how many bytes to read at first
	dst  []byte
}

// readCompressed reads from an extent of compressed grains; off counts from the extent's start.
func (d *image) readCompressed(ctx context.Context, e *extent, p []byte, off int64) error {
	for len(p) > 0 {
		batch, n, err := d.gather(ctx, e, p, off)
		if err != nil {
			return err
		}
		if len(batch) > 0 {
			if err := d.decodeAll(ctx, e, batch); err != nil {
				return err
			}
			p, off = p[n:], off+n
			continue
		}
		if n, err = d.readPart(ctx, e, p, off); err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// gather collects the stored grains from off on that p covers whole, and how long they are together.
func (d *image) gather(ctx context.Context, e *extent, p []byte, off int64) (batch []piece, n int64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(batch) < maxBatch && n < int64(len(p)) && off%e.grain == 0 {
		want := e.limit(off)
		if int64(len(p))-n < want {
			break
		}
		g, err := d.lookup(ctx, e, off/e.grain)
		if err != nil {
			return nil, 0, err
		}
		if g.kind != stored {
			break
		}
		// Grains mostly lie in order: then the next one tells how long the one before is.
		if k := len(batch); k > 0 {
			if room := (g.sector - batch[k-1].g.sector) * sector; room > 0 {
				batch[k-1].hint = min(room, e.grain)
			}
		}
		batch = append(batch, piece{g, e.grain, p[n : n+want]})
		n, off = n+want, off+want
	}
	return batch, n, nil
}

// decodeAll decompresses on all processors.
func (d *image) decodeAll(ctx context.Context, e *extent, batch []piece) error {
	workers := min(runtime.GOMAXPROCS(0), len(batch))
	errs := make([]error, workers)
	work := func(w int) {
		for _, p := range batch[len(batch)*w/workers : len(batch)*(w+1)/workers] {
			if errs[w] = e.decompress(ctx, p.dst, p.g, p.hint); errs[w] != nil {
				return
			}
		}
	}
	var wg sync.WaitGroup
	for w := 1; w < workers; w++ {
		wg.Go(func() { work(w) })
	}
	work(0)
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// readPart reads from the grain at off alone, or from a run that is not stored.
func (d *image) readPart(ctx context.Context, e *extent, p []byte, off int64) (int64, error) {
	d.mu.Lock()
	g, n, err := d.run(ctx, e, off, int64(len(p)))
	d.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if g.kind != stored {
		return n, d.readAbsent(ctx, p[:n], e.start+off, g.kind)
	}
	start := off / e.grain * e.grain
	data, err := d.decoded.Get(int64(e.index)<<33|g.sector, func() ([]byte, error) {
		data := make([]byte, e.limit(start))
		return data, e.decompress(ctx, data, g, e.grain)
	})
	if err != nil {
		return 0, err
	}
	return int64(copy(p[:n], data[off-start:])), nil
}

// decompress fills dst, a whole grain, with the data of g, of which hint bytes are read at first.
func (e *extent) decompress(ctx context.Context, dst []byte, g grain, hint int64) error {
	c := decoders.Get().(*decoder)
	defer decoders.Put(c)
	at := g.sector * sector
	raw := sized(&c.raw, 2*e.grain)
	e.events.Raise(formats.EventReadCompressed)
	if err := e.file.ReadAt(ctx, raw[:hint], at); err != nil {
		return err
	}
	from, n := int64(0), e.grain
	if e.markers {
		from, n = markerSize, int64(binary.LittleEndian.Uint32(raw[8:]))
	}
	if n == 0 || from+n > int64(len(raw)) {
		return qerr.New(syscall.EINVAL, "The grain at %d of '%s' has an invalid marker", at, nameOf(e.file))
	}
	if from+n > hint {
		if err := e.file.ReadAt(ctx, raw[hint:from+n], at+hint); err != nil {
			return err
		}
	}
	// The last grain may be stored whole although the disk ends within it.
	got, _, err := c.inflate.Zlib(dst, raw[from:from+n])
	if err == codec.ErrTooLarge && int64(len(dst)) < e.grain {
		whole := make([]byte, e.grain)
		_, _, err = c.inflate.Zlib(whole, raw[from:from+n])
		got = copy(dst, whole)
	}
	if err != nil || got < len(dst) {
		return qerr.New(syscall.EINVAL, "The grain at %d of '%s' cannot be decompressed", at, nameOf(e.file))
	}
	return nil
}

var _ formats.Image = (*image)(nil)
