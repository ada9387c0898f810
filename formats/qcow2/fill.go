package qcow2

import (
	"context"
	"errors"
	"sync"
	"syscall"

	"platter/formats"
)

// maxMerged bounds the buffers in which data and what surrounds it are written together.
const maxMerged = 1 << 20

var mergeBuffers = sync.Pool{New: func() any { return new([]byte) }}

// fill writes the data of an allocation and what surrounds it.
func (i *image) fill(ctx context.Context, a *allocation, p []byte) error {
	head, tail := int64(a.req-a.from), int64(a.to-a.req)-a.reqN
	zeroes := (head == 0 || a.headZero) && (tail == 0 || a.tailZero)
	at := a.host + hostOff(a.req-a.start)
	if head+tail == 0 {
		return i.writeData(ctx, p, a.req, at)
	}
	if zeroes && i.cipher == nil {
		// The whole range in one request: that the storage of a cluster is allocated with it shows in the file's size
		// and map, so it is done even where the file reads as zeroes already.
		i.events.Raise(formats.EventClusterAllocSpace)
		err := i.data.WriteZeroes(ctx, int64(at)-head, head+a.reqN+tail, formats.NoFallback)
		if err == nil || a.virgin && errors.Is(err, syscall.ENOTSUP) {
			return i.writeData(ctx, p, a.req, at)
		}
		if !errors.Is(err, syscall.ENOTSUP) {
			return err
		}
	}
	switch {
	case head+tail+a.reqN <= maxMerged:
		return i.writeMerged(ctx, a, p, head, tail)
	}
	// Too much for one buffer: the edges by themselves, each less than a cluster.
	if head > 0 {
		if err := i.copyEdge(ctx, a, a.from, head); err != nil {
			return err
		}
	}
	if tail > 0 {
		if err := i.copyEdge(ctx, a, a.req+guestOff(a.reqN), tail); err != nil {
			return err
		}
	}
	return i.writeData(ctx, p, a.req, at)
}

func (i *image) zeroHost(ctx context.Context, at hostOff, n int64) error {
	if n == 0 {
		return nil
	}
	return i.data.WriteZeroes(ctx, int64(at), n, 0)
}

func (i *image) writeMerged(ctx context.Context, a *allocation, p []byte, head, tail int64) error {
	b := mergeBuffers.Get().(*[]byte)
	defer mergeBuffers.Put(b)
	buf := sized(b, head+a.reqN+tail)
	if err := i.readEdge(ctx, buf[:head], a.from, a.headZero); err != nil {
		return err
	}
	copy(buf[head:], p)
	if err := i.readEdge(ctx, buf[head+a.reqN:], a.req+guestOff(a.reqN), a.tailZero); err != nil {
		return err
	}
	i.events.Raise(formats.EventWrite)
	return i.writeOwn(ctx, buf, a.from, a.host+hostOff(a.from-a.start))
}

func (i *image) readEdge(ctx context.Context, p []byte, g guestOff, zero bool) error {
	if zero || len(p) == 0 {
		clear(p)
		return nil
	}
	i.events.Raise(formats.EventCOWRead)
	return i.readGuest(ctx, p, g, false)
}

func (i *image) copyEdge(ctx context.Context, a *allocation, g guestOff, n int64) error {
	b := mergeBuffers.Get().(*[]byte)
	defer mergeBuffers.Put(b)
	buf := sized(b, n)
	if err := i.readEdge(ctx, buf, g, false); err != nil {
		return err
	}
	i.events.Raise(formats.EventCOWWrite)
	return i.writeOwn(ctx, buf, g, a.host+hostOff(g-a.start))
}

// writeData writes data of the caller's, which stays as it is.
func (i *image) writeData(ctx context.Context, p []byte, g guestOff, h hostOff) error {
	i.events.Raise(formats.EventWrite)
	if i.cipher == nil {
		return i.data.WriteAt(ctx, p, int64(h), 0)
	}
	b := mergeBuffers.Get().(*[]byte)
	defer mergeBuffers.Put(b)
	for len(p) > 0 {
		buf := sized(b, min(int64(len(p)), maxMerged))
		copy(buf, p)
		if err := i.cipher.Encrypt(i.ivOffset(g, h), buf); err != nil {
			return err
		}
		if err := i.data.WriteAt(ctx, buf, int64(h), 0); err != nil {
			return err
		}
		p, g, h = p[len(buf):], g+guestOff(len(buf)), h+hostOff(len(buf))
	}
	return nil
}

// writeOwn writes a buffer that may be overwritten by its encrypted form.
func (i *image) writeOwn(ctx context.Context, buf []byte, g guestOff, h hostOff) error {
	if i.cipher != nil {
		if err := i.cipher.Encrypt(i.ivOffset(g, h), buf); err != nil {
			return err
		}
	}
	return i.data.WriteAt(ctx, buf, int64(h), 0)
}
