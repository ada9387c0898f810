package tools

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"platter/chain"
	"platter/formats"
	"platter/formats/codec"
	"platter/formats/qerr"
	"platter/tools/copier"
)

// CompareOptions says which images to compare.
type CompareOptions struct {
	First, Second Source
	Strict        bool // sizes and allocation count, too
	Meter         *Meter
	// Say is told the verdict, and on the way that the sizes differ, in words.
	Say func(text string)
}

// The exit statuses of compare.
const (
	CompareSame      = 0
	CompareDiffers   = 1
	CompareCannot    = 2 // an image cannot be opened
	CompareNoStatus  = 3 // the allocation cannot be read
	CompareNoReading = 4 // data cannot be read
)

// compareBuffer is the longest piece that is compared at once, in bytes.
const compareBuffer = 2 << 20

// Compare compares what two images hold. It gives the exit status, with an error if it is 2 or more.
func Compare(ctx context.Context, env *Env, o CompareOptions) (status int, err error) {
	first, err := o.First.Open(ctx, env, 0)
	if err != nil {
		return CompareCannot, err
	}
	defer closing(env, first, &err)
	second, err := o.Second.Open(ctx, env, 0)
	if err != nil {
		return CompareCannot, err
	}
	defer closing(env, second, &err)
	c := &comparison{CompareOptions: o, ends: [2]side{
		{first, o.First.Filename, first.Size()}, {second, o.Second.Filename, second.Size()},
	}}
	return c.run(ctx)
}

// side is one of the two images.
type side struct {
	node *chain.Node
	name string
	size int64
}

// comparison is a Compare under way.
type comparison struct {
	CompareOptions
	ends [2]side
	pos  int64
	same int64 // up to here both have the range
	all  int64 // bytes of the longer image
}

// verdict ends a comparison: the images differ, or one cannot be read.
type verdict struct {
	status int
	text   string // what is said, if status is 1
	err    error
}

func (v *verdict) Error() string { return v.text }

func differs(format string, a ...any) error {
	return &verdict{status: CompareDiffers, text: fmt.Sprintf(format, a...)}
}

func (c *comparison) run(ctx context.Context) (int, error) {
	c.same = min(c.ends[0].size, c.ends[1].size)
	c.all = max(c.ends[0].size, c.ends[1].size)
	c.Meter.Advance(0, 100)
	c.Meter.whole(c.all)
	err := c.compare(ctx)
	v, ended := err.(*verdict)
	switch {
	case ended && v.err != nil:
		return v.status, v.err
	case ended:
		c.Say(v.text)
		return v.status, nil
	case err != nil:
		return CompareCannot, err
	}
	c.Say("Images are identical.")
	return CompareSame, nil
}

func (c *comparison) compare(ctx context.Context) error {
	if c.Strict && c.ends[0].size != c.ends[1].size {
		return differs("Strict mode: Image size mismatch!")
	}
	if err := c.pass(ctx, c.nextOfBoth); err != nil || c.same == c.all {
		return err
	}
	c.Say("Warning: Image size mismatch!")
	c.pos = c.same
	return c.pass(ctx, c.nextOfRest)
}

// pass compares in pieces, two or more at once; what is found first in the image counts.
func (c *comparison) pass(ctx context.Context, next func(context.Context) (comparedPiece, error)) error {
	return copier.Run(ctx, copier.Job{
		Buffer: compareStep, Ordered: true,
		Next: func(ctx context.Context) (copier.Piece, error) {
			p, err := next(ctx)
			if err != nil {
				return copier.Piece{}, err
			}
			piece := copier.Piece{Off: p.off, Len: p.n, Kind: copier.Leave, Note: p.read}
			if p.read != [2]bool{} {
				piece.Kind = copier.Data
			}
			return piece, nil
		},
		Load: func(ctx context.Context, p copier.Piece, buf []byte, scratch *copier.Scratch) error {
			return c.look(ctx, comparedPiece{p.Off, p.Len, p.Note.([2]bool)}, buf, scratch)
		},
		Store: func(_ context.Context, p copier.Piece, _ []byte, _ *copier.Scratch, _ *formats.Turn) error {
			c.Meter.Advance(float32(p.Len)/float32(c.all)*100, 100)
			return nil
		},
	})
}

// comparedPiece is a piece and which images are to be read for it: both to be compared, one to be all zeroes.
type comparedPiece struct {
	off, n int64
	read   [2]bool
}

// nextOfBoth plans the range that both images have.
func (c *comparison) nextOfBoth(ctx context.Context) (comparedPiece, error) {
	if c.pos >= c.same {
		return comparedPiece{}, io.EOF
	}
	p := comparedPiece{off: c.pos}
	var states [2]formats.State
	var placed [2]bool
	for i, e := range c.ends {
		l, err := e.node.StatusAbove(ctx, nil, p.off, e.size-p.off)
		if err != nil {
			return p, c.noStatus(i, err)
		}
		placed[i] = l.Where != nil
		if states[i] = l.State; i == 0 || l.Len < p.n {
			p.n = l.Len
		}
	}
	if c.Strict && (states[0] != states[1] || placed[0] != placed[1]) {
		return p, differs("Strict mode: Offset %d block status mismatch!", p.off)
	}
	allocated := [2]bool{states[0].Has(formats.Allocated), states[1].Has(formats.Allocated)}
	if !(states[0] & states[1]).Has(formats.Zero) && allocated != [2]bool{} {
		p.n, p.read = min(p.n, compareBuffer), allocated
	}
	c.pos += p.n
	return p, nil
}

// nextOfRest plans what only the longer image has.
func (c *comparison) nextOfRest(ctx context.Context) (comparedPiece, error) {
	if c.pos >= c.all {
		return comparedPiece{}, io.EOF
	}
	over := 0
	if c.ends[1].size > c.ends[0].size {
		over = 1
	}
	l, err := c.ends[over].node.StatusAbove(ctx, nil, c.pos, c.all-c.pos)
	if err != nil {
		return comparedPiece{}, c.noStatus(over, err)
	}
	p := comparedPiece{off: c.pos, n: l.Len}
	if l.State.Has(formats.Allocated) && !l.State.Has(formats.Zero) {
		p.n, p.read[over] = min(p.n, compareBuffer), true
	}
	c.pos += p.n
	return p, nil
}

func (c *comparison) noStatus(i int, err error) error {
	return &verdict{status: CompareNoStatus, err: qerr.New(qerr.Of(err), "Sector allocation test failed for %s", c.ends[i].name)}
}

// compareStep is how much is read of one image before the other's turn: both parts stay in the processor's cache.
const compareStep = 256 << 10

// look reads a piece and finds the first difference.
func (c *comparison) look(ctx context.Context, p comparedPiece, buf []byte, scratch *copier.Scratch) error {
	if p.read == [2]bool{} {
		return nil
	}
	both := p.read == [2]bool{true, true}
	other, _ := scratch.Extra.([]byte)
	if both && other == nil {
		other = copier.Buffer(compareStep)
		scratch.Extra = other
	}
	for done := int64(0); done < p.n; done += compareStep {
		n := min(compareStep, p.n-done)
		a, b := buf[:n], other[:min(n, int64(len(other)))]
		var err error
		if both {
			err = c.lookAtBoth(ctx, a, b, p.off, done)
		} else {
			err = c.lookForData(ctx, p.read, a, p.off, done)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *comparison) lookAtBoth(ctx context.Context, a, b []byte, off, done int64) error {
	if err := c.fetch(ctx, 0, a, off, done); err != nil {
		return err
	}
	if err := c.fetch(ctx, 1, b, off, done); err != nil {
		return err
	}
	if at := mismatch(a, b); at >= 0 {
		return differs("Content mismatch at offset %d!", off+done+at)
	}
	return nil
}

// lookForData finds what is not zero in the one image that has the range.
func (c *comparison) lookForData(ctx context.Context, read [2]bool, buf []byte, off, done int64) error {
	i := 0
	if read[1] {
		i = 1
	}
	if err := c.fetch(ctx, i, buf, off, done); err != nil {
		return err
	}
	if !codec.IsZero(buf) {
		return differs("Content mismatch at offset %d!", off+done+firstNonZero(buf))
	}
	return nil
}

// fetch reads a part of the piece at off. Errors name the piece.
func (c *comparison) fetch(ctx context.Context, i int, buf []byte, off, done int64) error {
	e := c.ends[i]
	err := e.node.ReadAt(ctx, buf, off+done)
	if err == nil {
		return nil
	}
	return &verdict{status: CompareNoReading, err: qerr.Errno(qerr.Of(err), "Error while reading offset %d of %s", off, e.name)}
}

// mismatch finds the first sector that differs, -1 if none does.
func mismatch(a, b []byte) int64 {
	if bytes.Equal(a, b) {
		return -1
	}
	for at := 0; ; at += sectorSize {
		end := min(at+sectorSize, len(a))
		if !bytes.Equal(a[at:end], b[at:end]) {
			return int64(at)
		}
	}
}

func firstNonZero(b []byte) int64 {
	for i, v := range b {
		if v != 0 {
			return int64(i)
		}
	}
	return -1
}
