package tools

import (
	"context"
	"sync"
	"syscall"

	"platter/formats"
	"platter/formats/codec"
	"platter/formats/qerr"
	"platter/tools/copier"
)

// copy fills the target.
func (c *conversion) copy(ctx context.Context) error {
	if c.Compress {
		if c.cluster <= 0 || c.cluster > c.buffer {
			return qerr.New(syscall.EINVAL, "invalid cluster size")
		}
		c.buffer = c.cluster
	}
	m := &copyMeter{meter: c.Meter}
	// A walk beforehand serves the line of -p; in salvaging mode it warns of what cannot be told, as qemu-img does.
	all := !c.Salvage && (c.Meter == nil || c.Meter.Show == nil)
	if all {
		m.total = c.total
	} else {
		var err error
		if m.total, err = c.allocated(ctx); err != nil {
			return err
		}
	}
	c.Meter.whole(m.total)
	p := &planner{conversion: c}
	c.limit = newLimiter(c.Rate)
	_, ahead := formats.As[formats.AheadCompressor](c.target.SkipFilters().Unwrap())
	err := copier.Run(ctx, copier.Job{
		Workers: c.workers(), Buffer: c.buffer, Ordered: c.ordered(), Early: c.Compress && ahead,
		Next: func(ctx context.Context) (copier.Piece, error) {
			piece, err := p.next(ctx)
			if err == nil && (all || piece.Kind == copier.Data) {
				m.add(piece.Len)
			}
			return piece, err
		},
		Load: func(ctx context.Context, p copier.Piece, buf []byte, scratch *copier.Scratch) error {
			unread := p.Kind == copier.Data && c.copies(p)
			scratch.Extra = unread
			if p.Kind != copier.Data || unread {
				return nil
			}
			err := c.read(ctx, buf, p.Off)
			return qerr.Prepend(bare(err), "error while reading at byte %d: ", p.Off)
		},
		Store: func(ctx context.Context, p copier.Piece, buf []byte, scratch *copier.Scratch, turn *formats.Turn) error {
			if scratch.Extra == true {
				if c.copies(p) && c.copyByHost(ctx, p, turn) {
					return nil
				}
				if err := c.read(ctx, buf, p.Off); err != nil {
					return qerr.Prepend(bare(err), "error while reading at byte %d: ", p.Off)
				}
			}
			err := c.write(ctx, p, buf, turn)
			return qerr.Prepend(bare(err), "error while writing at byte %d: ", p.Off)
		},
	})
	if err == nil && c.Compress {
		err = c.target.WriteCompressed(ctx, nil, 0)
	}
	return err
}

// bare strips what a driver says of an error: the verb shows the errno's text alone, as the request path of QEMU has
// nothing else.
func bare(err error) error {
	if err == nil {
		return nil
	}
	return &qerr.Error{Msg: qerr.Strerror(qerr.Of(err)), Errno: qerr.Of(err), Cause: err}
}

func (c *conversion) workers() int {
	if c.Salvage {
		return 1 // warnings come in the order of the image
	}
	if c.Parallel > 0 {
		return min(c.Parallel, copier.DefaultWorkers())
	}
	return 0
}

// ordered: where the target places data by the order of writes, it is filled in order, so that two copies are alike. A
// driver that takes turns loses nothing by that; with others, OutOfOrder gives it up.
func (c *conversion) ordered() bool {
	_, turns := formats.As[formats.AheadCompressor](c.target.SkipFilters().Unwrap())
	return !c.target.Driver().RawCreate && (turns || !c.OutOfOrder)
}

// read fills buf from the sources at off, which may cross from one into the next.
func (c *conversion) read(ctx context.Context, buf []byte, off int64) error {
	for len(buf) > 0 {
		part := c.part(off)
		at := off - part.start
		n := min(int64(len(buf)), part.size-at)
		if err := c.readPart(ctx, part, buf[:n], at); err != nil {
			return err
		}
		buf, off = buf[n:], off+n
	}
	return nil
}

// readPart reads from one source. In salvaging mode a failed range is read again sector by sector, and what still
// fails becomes zeroes.
func (c *conversion) readPart(ctx context.Context, part *sourcePart, buf []byte, at int64) error {
	err := part.node.ReadAt(ctx, buf, at)
	if err == nil || !c.Salvage || ctx.Err() != nil {
		return err
	}
	for ; len(buf) > 0; buf, at = buf[sectorSize:], at+sectorSize {
		if err := part.node.ReadAt(ctx, buf[:sectorSize], at); err != nil {
			if ctx.Err() != nil {
				return err
			}
			c.warnRead("error while reading offset %d: %s", at, err)
			clear(buf[:sectorSize])
		}
	}
	return nil
}

// write brings a piece into the target: data, and the zeroes that are found in it, each in its way.
func (c *conversion) write(ctx context.Context, p copier.Piece, buf []byte, turn *formats.Turn) error {
	switch {
	case p.Kind == copier.Leave:
		return nil
	case c.Compress:
		return c.writeCompressed(ctx, p, buf, turn)
	case p.Kind == copier.Zero:
		return c.zero(ctx, p.Off, p.Len)
	}
	for off := p.Off; len(buf) > 0; {
		r := copier.Span{Len: int64(len(buf)), Data: true}
		if !c.whole(p) {
			r = copier.FirstSpan(buf, off, c.SparseSize, c.align)
		}
		var err error
		switch {
		case !r.Data:
			err = c.zero(ctx, off, r.Len)
		case r.Len == int64(len(buf)): // the last of the piece: the next one may allocate while this is moved
			err = c.data(formats.WithTurn(ctx, turn), buf, off)
		default:
			err = c.data(ctx, buf[:r.Len], off)
		}
		if err != nil {
			return err
		}
		buf, off = buf[r.Len:], off+r.Len
	}
	return nil
}

func (c *conversion) data(ctx context.Context, buf []byte, off int64) error {
	if err := c.limit.wait(ctx, int64(len(buf))); err != nil {
		return err
	}
	return c.target.WriteAt(ctx, buf, off, 0)
}

// writeCompressed brings a cluster, or a range of zeroes, into the target. It is called before its turn if the driver
// compresses ahead.
func (c *conversion) writeCompressed(ctx context.Context, p copier.Piece, buf []byte, turn *formats.Turn) error {
	if p.Kind == copier.Data && (c.SparseSize == 0 || !codec.IsZero(buf)) {
		if err := c.limit.wait(ctx, p.Len); err != nil {
			return err
		}
		return c.target.WriteCompressed(formats.WithTurn(ctx, turn), buf, p.Off)
	}
	if c.zeroInit {
		return nil
	}
	if err := turn.Await(); err != nil {
		return err
	}
	return c.zero(ctx, p.Off, p.Len)
}

func (c *conversion) zero(ctx context.Context, off, n int64) error {
	if c.zeroInit {
		return nil
	}
	if err := c.limit.wait(ctx, n); err != nil {
		return err
	}
	return c.target.WriteZeroes(ctx, off, n, formats.MayUnmap)
}

// copyMeter turns bytes into percent: of what is read if the line of -p is to equal qemu-img's, which takes a walk over
// the source beforehand, otherwise of the image.
type copyMeter struct {
	meter       *Meter
	mu          sync.Mutex
	done, total int64
}

func (m *copyMeter) add(n int64) {
	if m.meter == nil || m.total == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done += n
	m.meter.Advance(float32(100*float64(m.done)/float64(m.total)), 0)
}
