package sm3

import (
	"encoding/binary"
	"hash"
	"math/bits"
)

// Size is the length of a digest and BlockSize that of a block, in bytes.
const (
	Size      = 32
	BlockSize = 64
)

type digest struct {
	state [8]uint32
	rest  [BlockSize]byte
	n     int    // bytes in rest
	total uint64 // bytes written
}

// New starts a digest.
func New() hash.Hash {
	d := new(digest)
	d.Reset()
	return d
}

func (d *digest) Size() int      { return Size }
func (d *digest) BlockSize() int { return BlockSize }

func (d *digest) Reset() {
	*d = digest{state: [8]uint32{
		0x7380166f, 0x4914b2b9, 0x172442d7, 0xda8a0600, 0xa96f30bc, 0x163138aa, 0xe38dee4d, 0xb0fb0e4e,
	}}
}

func (d *digest) Write(p []byte) (int, error) {
	n := len(p)
	d.total += uint64(n)
	for len(p) > 0 {
		if d.n == 0 && len(p) >= BlockSize {
			d.block(p[:BlockSize])
			p = p[BlockSize:]
			continue
		}
		c := copy(d.rest[d.n:], p)
		p = p[c:]
		if d.n += c; d.n == BlockSize {
			d.block(d.rest[:])
			d.n = 0
		}
	}
	return n, nil
}

func (d *digest) Sum(b []byte) []byte {
	e := *d
	var tail [BlockSize + 8]byte
	tail[0] = 0x80
	pad := 1 + (2*BlockSize-9-e.n)%BlockSize
	binary.BigEndian.PutUint64(tail[pad:], e.total*8)
	e.Write(tail[:pad+8])
	for _, w := range e.state {
		b = binary.BigEndian.AppendUint32(b, w)
	}
	return b
}

func p0(x uint32) uint32 { return x ^ bits.RotateLeft32(x, 9) ^ bits.RotateLeft32(x, 17) }
func p1(x uint32) uint32 { return x ^ bits.RotateLeft32(x, 15) ^ bits.RotateLeft32(x, 23) }

func (d *digest) block(p []byte) {
	var w [68]uint32
	for i := range 16 {
		w[i] = binary.BigEndian.Uint32(p[4*i:])
	}
	for i := 16; i < 68; i++ {
		w[i] = p1(w[i-16]^w[i-9]^bits.RotateLeft32(w[i-3], 15)) ^ bits.RotateLeft32(w[i-13], 7) ^ w[i-6]
	}
	v := d.state
	for i := range 64 {
		a, b, c, e, f, g := v[0], v[1], v[2], v[4], v[5], v[6]
		t, ff, gg := uint32(0x79cc4519), a^b^c, e^f^g
		if i >= 16 {
			t, ff, gg = 0x7a879d8a, a&b|a&c|b&c, e&f|^e&g
		}
		s1 := bits.RotateLeft32(bits.RotateLeft32(a, 12)+e+bits.RotateLeft32(t, i), 7)
		s2 := s1 ^ bits.RotateLeft32(a, 12)
		t1 := ff + v[3] + s2 + (w[i] ^ w[i+4])
		t2 := gg + v[7] + s1 + w[i]
		v = [8]uint32{t1, a, bits.RotateLeft32(b, 9), c, p0(t2), e, bits.RotateLeft32(f, 19), g}
	}
	for i := range v {
		d.state[i] ^= v[i]
	}
}
