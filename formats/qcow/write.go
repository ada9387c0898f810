package qcow

import (
	"context"
	"sync"
	"syscall"

	"platter/formats"
	"platter/formats/codec"
	"platter/formats/qerr"
)

// maxRun bounds what is allocated, or encrypted, at once: bytes.
const maxRun = 1 << 20

// buffers hold data on its way through the cipher, and clusters that are put together.
var buffers = sync.Pool{New: func() any { b := make([]byte, maxRun); return &b }}

// WriteAt overwrites allocated clusters in place and allocates the others.
func (d *image) WriteAt(ctx context.Context, p []byte, off int64, f formats.WriteFlags) error {
	turn := formats.TurnOf(ctx)
	if err := turn.Await(); err != nil {
		return err
	}
	for len(p) > 0 {
		entry, n, owned, err := d.claim(ctx, off, int64(len(p)))
		if err != nil {
			return err
		}
		if owned {
			last := turn
			if n < int64(len(p)) {
				last = nil
			}
			err = d.allocate(ctx, p[:n], off, entry, last)
		} else {
			err = d.overwrite(ctx, p[:n], off, int64(entry)+off&(d.clusterSize-1))
		}
		if err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	if f&formats.FUA != 0 {
		return d.Flush(ctx)
	}
	return nil
}

// claim waits until nobody allocates the first cluster, and finds the run to write. Clusters without a place of their own
// become this caller's to allocate (owned): one that is written in part or was compressed, or several that are covered.
func (d *image) claim(ctx context.Context, off, n int64) (entry uint64, length int64, owned bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := off >> d.head.clusterBits
	for d.pending[c] {
		d.free.Wait()
	}
	n = min(n, maxRun-off&(d.clusterSize-1))
	entry, length, err = d.run(ctx, off, n)
	if err != nil || entry != 0 && entry&flagCompressed == 0 {
		return entry, length, false, err
	}
	d.pending[c] = true
	inside := off & (d.clusterSize - 1)
	if inside != 0 || length < d.clusterSize || entry != 0 {
		return entry, min(length, d.clusterSize-inside), true, nil
	}
	table := int64(1)<<d.head.l2Bits - c&(1<<d.head.l2Bits-1) // clusters left in this L2 table
	count := int64(1)
	for count < min(length>>d.head.clusterBits, table) && !d.pending[c+count] {
		d.pending[c+count] = true
		count++
	}
	return 0, count << d.head.clusterBits, true, nil
}

// overwrite writes p into place.
func (d *image) overwrite(ctx context.Context, p []byte, off, host int64) error {
	d.events.Raise(formats.EventWrite)
	if d.cipher == nil {
		return d.file.WriteAt(ctx, p, host, 0)
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	b := (*buf)[:copy(*buf, p)]
	if err := d.cipher.Encrypt(uint64(off), b); err != nil {
		return err
	}
	return d.file.WriteAt(ctx, b, host, 0)
}

// allocate writes new clusters that hold p and around it what was there before, and links them. They are pending.
func (d *image) allocate(ctx context.Context, p []byte, off int64, old uint64, turn *formats.Turn) error {
	ctx = context.WithoutCancel(formats.WithTurn(ctx, nil))
	inside := off & (d.clusterSize - 1)
	start, n := off-inside, (inside+int64(len(p))+d.clusterSize-1)&^(d.clusterSize-1)
	if int64(len(p)) < n {
		buf := buffers.Get().(*[]byte)
		defer buffers.Put(buf)
		whole := (*buf)[:n]
		if err := d.readRun(ctx, whole, start, old); err != nil {
			d.release(start, n)
			return err
		}
		copy(whole[inside:], p)
		p = whole
	}
	return d.place(ctx, start, n, turn, true, 0, func(at int64) error { return d.overwrite(ctx, p, start, at) })
}

// place takes room in the file for the pending clusters from start on, n bytes of the disk, writes them and links them.
// A size other than 0 is that of the stream of a compressed cluster.
func (d *image) place(ctx context.Context, start, n int64, turn *formats.Turn, aligned bool, size int64,
	write func(at int64) error) error {
	defer d.release(start, n)
	room := n
	if size != 0 {
		room = size
	}
	d.mu.Lock()
	_, err := d.ownL2(ctx, start)
	var at int64
	if err == nil {
		at, err = d.take(room, aligned)
	}
	d.mu.Unlock()
	if err != nil {
		return err
	}
	turn.Pass()
	if err := write(at); err != nil {
		return err
	}
	entry := uint64(at)
	if size != 0 {
		entry |= flagCompressed | uint64(size)<<(63-d.head.clusterBits)
	}
	d.mu.Lock()
	err = d.link(ctx, start, int(n>>d.head.clusterBits), entry)
	full := d.l2.Dirty() > d.l2.Limit()/2 || d.events.Heard()
	d.mu.Unlock()
	if err == nil && full {
		err = d.flush(ctx)
	}
	return err
}

// release lets others have the clusters from start on, n bytes.
func (d *image) release(start, n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := start >> d.head.clusterBits; c < (start+n)>>d.head.clusterBits; c++ {
		delete(d.pending, c)
	}
	d.free.Broadcast()
}

// encoder is what one goroutine needs to compress.
type encoder struct {
	deflate *codec.Deflater
	in, out []byte
}

var encoders = sync.Pool{New: func() any {
	return &encoder{deflate: codec.NewDeflater(codec.Window4K), in: make([]byte, 1<<16), out: make([]byte, 1<<16)}
}}

// CompressesAhead: a cluster is compressed before its turn to be stored has come.
func (d *image) CompressesAhead() {}

// WriteCompressed stores clusters compressed; an empty p ends the stream, for which there is nothing to do.
func (d *image) WriteCompressed(ctx context.Context, p []byte, off int64) error {
	part := int64(len(p)) & (d.clusterSize - 1)
	if off&(d.clusterSize-1) != 0 || part != 0 && off+int64(len(p)) != d.Size() {
		return qerr.New(syscall.EINVAL, "Invalid argument")
	}
	for len(p) > 0 {
		part := p[:min(int64(len(p)), d.clusterSize)]
		if err := d.writeCompressed(ctx, part, off); err != nil {
			return err
		}
		p, off = p[len(part):], off+int64(len(part))
	}
	return nil
}

// writeCompressed stores one cluster; what does not become smaller is stored as it is.
func (d *image) writeCompressed(ctx context.Context, p []byte, off int64) error {
	e := encoders.Get().(*encoder)
	defer encoders.Put(e)
	in := p
	if int64(len(p)) < d.clusterSize {
		in = e.in[:d.clusterSize]
		clear(in[copy(in, p):])
	}
	n, ok := e.deflate.Raw(e.out[:d.clusterSize-1], in)
	if !ok {
		return d.WriteAt(ctx, p, off, 0)
	}
	turn := formats.TurnOf(ctx)
	if err := turn.Await(); err != nil {
		return err
	}
	d.mu.Lock()
	c := off >> d.head.clusterBits
	for d.pending[c] {
		d.free.Wait()
	}
	d.pending[c] = true
	d.mu.Unlock()
	ctx = context.WithoutCancel(formats.WithTurn(ctx, nil))
	return d.place(ctx, off, d.clusterSize, turn, false, int64(n), func(at int64) error {
		d.events.Raise(formats.EventWriteCompressed)
		return d.file.WriteAt(ctx, e.out[:n], at, 0)
	})
}
