package tools

import (
	"context"
	"io"

	"platter/chain"
	"platter/formats"
	"platter/formats/qerr"
	"platter/tools/copier"
)

// maxRequest is QEMU's longest request, in bytes: zeroes are handled in runs of at most this length.
const maxRequest = (1<<31 - 1) / sectorSize * sectorSize

// planner cuts the sequence of sources into pieces, in the places in which qemu-img cuts it, since the result depends
// on them: runs of zeroes are looked for within a piece.
type planner struct {
	*conversion
	pos       int64 // where the next piece begins
	statusEnd int64 // up to where kind holds
	kind      copier.Kind
	host      any   // where data lies in a file, for copying by the file system, as of …
	hostAt    int64 // … this position
	unhosted  bool  // no more pieces are copied so
}

// next gives the piece at pos.
func (p *planner) next(ctx context.Context) (copier.Piece, error) {
	if p.pos >= p.total {
		return copier.Piece{}, io.EOF
	}
	off := p.pos
	n, err := p.length(ctx, off)
	if err != nil {
		return copier.Piece{}, err
	}
	kind := p.kind
	if p.SparseSize == 0 && kind == copier.Zero { // zeroes are written like data
		n, kind = min(n, p.buffer), copier.Data
	}
	p.pos += n
	return copier.Piece{Off: off, Len: n, Kind: kind, Note: p.hostOf(kind, off)}, nil
}

// hostOf is where the data at off lies in a file; nil if that is not known, or of no use.
func (p *planner) hostOf(kind copier.Kind, off int64) any {
	h, ok := p.host.(hostRange)
	if !ok && kind == copier.Data { // one piece that cannot be copied ends it for all that follow
		p.unhosted = true
	}
	if !ok || p.unhosted || kind != copier.Data || p.kind != copier.Data {
		return nil
	}
	h.off += off - p.hostAt
	return h
}

// length finds how far the piece at off goes, and leaves its kind in p.kind.
func (p *planner) length(ctx context.Context, off int64) (int64, error) {
	n := min(p.total-off, maxRequest)
	behind := false // no backing file of the target shows here
	if p.backing >= 0 {
		if behind = off >= p.backing; !behind {
			n = min(n, p.backing-off)
		}
	}
	if p.statusEnd <= off {
		var err error
		if n, err = p.status(ctx, off, n, behind); err != nil {
			return 0, err
		}
		p.statusEnd = off + n
	}
	n = min(n, p.statusEnd-off)
	if p.kind == copier.Data {
		n = min(n, p.buffer)
	}
	// Compressed clusters are written whole: what is shorter belongs to the data beside it.
	if p.Compress {
		if n < p.cluster {
			n, p.kind = min(p.cluster, p.total-off), copier.Data
		} else {
			n -= n % p.cluster
		}
	}
	return n, nil
}

// status asks the source what the n bytes at off are.
func (p *planner) status(ctx context.Context, off, n int64, behind bool) (int64, error) {
	part := p.part(off)
	at := off - part.start
	var base *chain.Node
	if p.hasBacking {
		base = part.node.SkipFilters().Backing()
	}
	var s formats.State
	for {
		l, err := part.node.StatusAbove(ctx, base, at, n)
		if err == nil {
			s, n = l.State, alignUp(l.Len, sectorSize)
			p.host, p.hostAt = p.place(part.node, l), off
			break
		}
		if ctx.Err() != nil || !p.Salvage {
			return 0, qerr.Prepend(bare(err), "error while reading block status at offset %d: ", at)
		}
		if n == sectorSize {
			p.warnRead("error while reading block status at offset %d: %s", at, err)
			s = formats.Data // reading it will tell
			break
		}
		n = alignUp((n/sectorSize+3)/4*sectorSize, sectorSize)
	}
	// Pieces end at the source's units, so that none is read twice.
	if tail := (at + n) % part.align; n > tail {
		n -= tail
	}
	p.kind = p.classify(s, behind)
	return n, nil
}

func (p *planner) classify(s formats.State, behind bool) copier.Kind {
	switch {
	case s.Has(formats.Zero) && behind, s&(formats.Zero|formats.Data) == 0 && p.hasBacking:
		return copier.Leave
	case s.Has(formats.Zero):
		return copier.Zero
	}
	return copier.Data
}

// part is the source that off lies in.
func (c *conversion) part(off int64) *sourcePart {
	i := 0
	for off-c.parts[i].start >= c.parts[i].size {
		i++
	}
	return &c.parts[i]
}

func (c *conversion) warnRead(format string, off int64, err error) {
	if !c.Quiet {
		c.env.Warn(format, off, qerr.Strerror(qerr.Of(err)))
	}
}

// allocated adds up what is read in all: what progress is measured by.
func (c *conversion) allocated(ctx context.Context) (int64, error) {
	p := planner{conversion: c}
	sum := int64(0)
	for {
		piece, err := p.next(ctx)
		if err == io.EOF {
			return sum, nil
		}
		if err != nil {
			return 0, err
		}
		if piece.Kind == copier.Data {
			sum += piece.Len
		}
	}
}
