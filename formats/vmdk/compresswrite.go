package vmdk

import (
	"context"
	"encoding/binary"
	"hash/adler32"
	"sync"
	"syscall"

	"platter/formats"
	"platter/formats/codec"
	"platter/formats/qerr"
)

// encoder is what one goroutine needs to compress.
type encoder struct {
	deflate *codec.Deflater
	out     []byte
}

var encoders = sync.Pool{New: func() any { return &encoder{deflate: codec.NewDeflater(codec.Window32K)} }}

// CompressesAhead: grains are compressed side by side, only taking a place in the file is in order.
func (d *image) CompressesAhead() {}

// WriteCompressed writes to extents of compressed grains, and to others plainly. An empty p makes the files a multiple
// of sectors long, which ends the stream.
func (d *image) WriteCompressed(ctx context.Context, p []byte, off int64) error {
	if len(p) > 0 {
		return d.WriteAt(ctx, p, off, 0)
	}
	for _, e := range d.extents {
		if err := e.file.Truncate(ctx, (e.file.Size()+sector-1)/sector*sector, formats.PreallocOff); err != nil {
			return err
		}
	}
	return nil
}

// refuse says that a grain which is stored compressed cannot be written again.
func (d *image) refuse() error {
	d.env.ReportError("Could not write to allocated cluster for streamOptimized")
	return qerr.New(syscall.EIO, "Input/output error")
}

// storeCompressed writes whole grains that are not stored yet; off counts from the extent's start.
func (d *image) storeCompressed(ctx context.Context, e *extent, p []byte, off int64) error {
	if off%e.grain != 0 || int64(len(p))%e.grain != 0 && off+int64(len(p)) != e.size() {
		return qerr.New(syscall.EINVAL, "streamOptimized images are written in whole grains only")
	}
	if !e.markers {
		return qerr.New(syscall.EINVAL, "Compressed grains without markers cannot be written")
	}
	if e.footer {
		return qerr.New(syscall.ENOTSUP, "'%s' ends in a footer, grains cannot be added", nameOf(e.file))
	}
	for len(p) > 0 {
		n := min(int64(len(p)), e.grain)
		if err := d.storeGrain(ctx, e, p[:n], off); err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// storeGrain compresses a grain, takes a place for it at the end of the file, and links it.
func (d *image) storeGrain(ctx context.Context, e *extent, p []byte, off int64) error {
	c := encoders.Get().(*encoder)
	defer encoders.Put(c)
	out := sized(&c.out, markerSize+2*e.grain+2*sector)
	n, ok := c.deflate.Zlib(out[markerSize:markerSize+len(p)], p)
	if !ok {
		n = storedStream(out[markerSize:], p)
	}
	le := binary.LittleEndian
	le.PutUint64(out, uint64((e.start+off)/sector))
	le.PutUint32(out[8:], uint32(n))
	sectors := int64(markerSize+n+sector-1) / sector
	clear(out[markerSize+n : sectors*sector])

	turn := formats.TurnOf(ctx)
	if err := turn.Await(); err != nil {
		return err
	}
	at, err := d.place(ctx, e, off/e.grain, sectors)
	if err != nil {
		return err
	}
	turn.Pass()
	ctx = formats.WithTurn(context.WithoutCancel(ctx), nil)
	if err = d.renewID(ctx); err == nil {
		e.events.Raise(formats.EventWriteCompressed)
		err = e.file.WriteAt(ctx, out[:sectors*sector], at*sector, 0)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.pending, place{e.index, off / e.grain})
	d.free.Broadcast()
	if err != nil {
		return err
	}
	t, err := d.ownTable(ctx, e, off/e.grain)
	if err == nil {
		d.set(e, t, off/e.grain%e.tableLen, at)
	}
	return err
}

// storedStream wraps what does not become smaller in a zlib stream of stored blocks.
func storedStream(dst, p []byte) int {
	const most = 1<<16 - 1
	n := copy(dst, "\x78\x01")
	for rest := p; len(rest) > 0; {
		k := min(len(rest), most)
		dst[n] = 0
		if k == len(rest) {
			dst[n] = 1
		}
		binary.LittleEndian.PutUint16(dst[n+1:], uint16(k))
		binary.LittleEndian.PutUint16(dst[n+3:], ^uint16(k))
		n += 5
		n += copy(dst[n:], rest[:k])
		rest = rest[k:]
	}
	binary.BigEndian.PutUint32(dst[n:], adler32.Checksum(p))
	return n + 4
}

// place takes space for grain g, which must not be stored yet.
func (d *image) place(ctx context.Context, e *extent, g, sectors int64) (at int64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.pending[place{e.index, g}] {
		d.free.Wait()
	}
	v, err := d.lookup(ctx, e, g)
	if err != nil {
		return 0, err
	}
	if v.kind == stored {
		return 0, d.refuse()
	}
	if _, err := d.ownTable(ctx, e, g); err != nil {
		return 0, err
	}
	if e.next+sectors > maxSector {
		return 0, qerr.New(syscall.EFBIG, "'%s' has no room for more grains", nameOf(e.file))
	}
	at = e.next
	e.next += sectors
	d.pending[place{e.index, g}] = true
	return at, nil
}

var (
	_ formats.AheadCompressor = (*image)(nil)
	_ formats.Zeroer          = (*image)(nil)
)
