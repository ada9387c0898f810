package vhdx

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

const (
	signature = "vhdxfile"

	mib        = 1 << 20
	headerSize = 4096
)

// headerAt are the places of the two headers (section 2.2.2).
var headerAt = [2]int64{64 << 10, 128 << 10}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum is the CRC-32C of p with its bytes 4 to 8, where the sum is stored, taken as zero.
func sum(p []byte) uint32 {
	c := crc32.Update(0, castagnoli, p[:4])
	c = crc32.Update(c, castagnoli, make([]byte, 4))
	return crc32.Update(c, castagnoli, p[8:])
}

// seal stores the sum.
func seal(p []byte) { binary.LittleEndian.PutUint32(p[4:], sum(p)) }

func sealed(p []byte) bool { return binary.LittleEndian.Uint32(p[4:]) == sum(p) }

// header is one of the two headers, as it stands in the file.
type header [headerSize]byte

func (h *header) sequence() uint64  { return binary.LittleEndian.Uint64(h[8:]) }
func (h *header) dataGUID() guid    { return guid(h[32:48]) }
func (h *header) logGUID() guid     { return guid(h[48:64]) }
func (h *header) logVersion() int   { return int(binary.LittleEndian.Uint16(h[64:])) }
func (h *header) logLength() int64  { return int64(binary.LittleEndian.Uint32(h[68:])) }
func (h *header) logOffset() uint64 { return binary.LittleEndian.Uint64(h[72:]) }

func (h *header) valid() bool {
	return string(h[:4]) == "head" && binary.LittleEndian.Uint16(h[66:]) == 1 && sealed(h[:])
}

// newHeader makes the header of a new image.
func newHeader(logLength uint32) *header {
	h := &header{}
	copy(h[:], "head")
	le := binary.LittleEndian
	le.PutUint64(h[8:], uint64(binary.LittleEndian.Uint32(randomBytes(4))))
	copy(h[16:], randomGUID())
	copy(h[32:], randomGUID())
	le.PutUint16(h[66:], 1)
	le.PutUint32(h[68:], logLength)
	le.PutUint64(h[72:], mib)
	seal(h[:])
	return h
}

func randomGUID() []byte { g := newGUID(); return g[:] }

func randomBytes(n int) []byte { return randomGUID()[:n] }

// headers are both headers of an image; current says which counts.
type headers struct {
	file    formats.File
	both    [2]header
	current int
}

func (h *headers) now() *header { return &h.both[h.current] }

// load reads the headers and chooses the valid one with the higher sequence number. Two valid ones with the same number
// are an error, unless they are the same throughout: disk2vhd writes such pairs.
func (h *headers) load(ctx context.Context) error {
	for i, at := range headerAt {
		if err := h.file.ReadAt(ctx, h.both[i][:], at); err != nil {
			return qerr.New(qerr.Of(err), "No valid VHDX header found")
		}
	}
	a, b := &h.both[0], &h.both[1]
	switch va, vb := a.valid(), b.valid(); {
	case va && vb && a.sequence() == b.sequence() && *a != *b, !va && !vb:
		return qerr.New(syscall.EINVAL, "No valid VHDX header found")
	case vb && (!va || b.sequence() > a.sequence()):
		h.current = 1
	}
	return nil
}

// put changes the header that does not count, which then does. Before the next put there must be a flush: one of the
// two is whole at any time.
func (h *headers) put(ctx context.Context, change func(*header)) error {
	other := 1 - h.current
	next := *h.now()
	change(&next)
	binary.LittleEndian.PutUint64(next[8:], next.sequence()+1)
	seal(next[:])
	if err := h.file.WriteAt(ctx, next[:], headerAt[other], 0); err != nil {
		return err
	}
	h.both[other], h.current = next, other
	return nil
}

// update changes both headers, each durable before the next step.
func (h *headers) update(ctx context.Context, change func(*header)) error {
	for range 2 {
		if err := h.put(ctx, change); err != nil {
			return err
		}
		if err := h.file.Flush(ctx); err != nil {
			return err
		}
	}
	return nil
}
