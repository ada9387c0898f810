package qcow2

import (
	"context"
	"sync"
	"syscall"

	"platter/formats"
	"platter/formats/codec"
	"platter/formats/qerr"
)

// encoder is what one goroutine needs to compress.
type encoder struct {
	deflate *codec.Deflater
	zstd    codec.ZstdEncoder
	in, out []byte
}

var encoders = sync.Pool{New: func() any { return new(encoder) }}

// WriteCompressed stores clusters compressed. Callers compress side by side; only taking a place in the file is serial.
func (i *image) WriteCompressed(ctx context.Context, p []byte, off int64) error {
	if err := i.ready(ctx); err != nil {
		return err
	}
	if i.external() {
		return qerr.New(syscall.ENOTSUP, "Operation not supported")
	}
	if len(p) == 0 {
		// The end of the file becomes a multiple of sectors, for readers that read whole ones.
		return i.file.Truncate(ctx, (i.file.Size()+511)&^511, formats.PreallocOff)
	}
	if i.inCluster(off) != 0 || i.inCluster(int64(len(p))) != 0 && off+int64(len(p)) != i.Size() {
		return qerr.New(syscall.EINVAL, "Invalid argument")
	}
	for len(p) > 0 {
		part := p[:min(int64(len(p)), i.clusterSize)]
		if err := i.writeCompressed(ctx, part, guestOff(off)); err != nil {
			return err
		}
		p, off = p[len(part):], off+int64(len(part))
	}
	return nil
}

// writeCompressed stores one cluster; what does not become smaller is stored as it is.
func (i *image) writeCompressed(ctx context.Context, p []byte, g guestOff) error {
	e := encoders.Get().(*encoder)
	defer encoders.Put(e)
	in := p
	if int64(len(p)) < i.clusterSize {
		in = sized(&e.in, i.clusterSize)
		clear(in[copy(in, p):])
	}
	out := sized(&e.out, i.clusterSize-1)
	n, ok := 0, false
	if i.hdr.compression == compressionZstd {
		n, ok = e.zstd.Encode(out, in)
	} else {
		if e.deflate == nil {
			e.deflate = codec.NewDeflater(codec.Window4K)
		}
		n, ok = e.deflate.Raw(out, in)
	}
	if !ok {
		return i.write(ctx, p, g)
	}
	epoch := i.requests.enter()
	defer i.requests.leave(epoch)
	turn := formats.TurnOf(ctx)
	if err := turn.Await(); err != nil {
		return err
	}
	if turn != nil {
		ctx = formats.WithTurn(ctx, nil)
	}
	return i.storeCompressed(context.WithoutCancel(ctx), out[:n], g, turn)
}

// CompressesAhead: a cluster is compressed before its turn to be stored has come.
func (i *image) CompressesAhead() {}

func (i *image) storeCompressed(ctx context.Context, data []byte, g guestOff, turn *formats.Turn) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.waitFor(g, i.clusterSize)
	if _, err := i.ownTable(ctx, g); err != nil {
		return err
	}
	old, _, err := i.entryAt(ctx, g)
	if err != nil {
		return err
	}
	if old&flagCopied != 0 { // stored uncompressed: QEMU does not overwrite that
		return qerr.New(syscall.EIO, "Input/output error")
	}
	if err := i.markDirty(ctx); err != nil {
		return err
	}
	off, err := i.allocBytes(ctx, int64(len(data)))
	if err != nil {
		return err
	}
	turn.Pass()
	i.events.Raise(formats.EventL2UpdateCompressed)
	err = i.unlocked(g, func() error {
		if err := i.commitTables(ctx); err != nil {
			return err
		}
		i.events.Raise(formats.EventWriteCompressed)
		return i.file.WriteAt(ctx, data, int64(off), 0)
	})
	if err == nil {
		var table hostOff
		if table, err = i.ownTable(ctx, g); err == nil {
			err = i.setEntry(ctx, table, g, i.compressedEntry(off, int64(len(data))), 0)
		}
	}
	if err != nil {
		i.freeNow(ctx, off, int64(len(data)))
		return err
	}
	i.releaseEntry(old, causeNever)
	return nil
}
