package serpent

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"math/bits"
)

// BlockSize is the length of a block in bytes.
const BlockSize = 16

const rounds = 32

type block struct {
	keys [rounds + 1][4]uint32
}

// New makes the cipher for a key of 16, 24 or 32 bytes.
func New(key []byte) (cipher.Block, error) {
	if n := len(key); n != 16 && n != 24 && n != 32 {
		return nil, fmt.Errorf("serpent: invalid key size %d", n)
	}
	b := new(block)
	b.expand(key)
	return b, nil
}

func (b *block) BlockSize() int { return BlockSize }

type sbox func(a, b, c, d uint32) (uint32, uint32, uint32, uint32)

var sboxes = [8]sbox{sbox0, sbox1, sbox2, sbox3, sbox4, sbox5, sbox6, sbox7}

// expand makes the round keys: a shorter key is padded with a one bit and zeros, a recurrence stretches it to 132
// words, and the S-boxes from the fourth downwards turn each four of them into a round key.
func (b *block) expand(key []byte) {
	const phi = 0x9e3779b9
	var padded [32]byte
	if copy(padded[:], key) < len(padded) {
		padded[len(key)] = 1
	}
	var w [8 + 4*(rounds+1)]uint32
	for i := range 8 {
		w[i] = binary.LittleEndian.Uint32(padded[4*i:])
	}
	for i := 8; i < len(w); i++ {
		w[i] = bits.RotateLeft32(w[i-8]^w[i-5]^w[i-3]^w[i-1]^phi^uint32(i-8), 11)
	}
	for i := range b.keys {
		k, q := &b.keys[i], w[8+4*i:]
		k[0], k[1], k[2], k[3] = sboxes[(rounds+3-i)%8](q[0], q[1], q[2], q[3])
	}
}

func mix(k *[4]uint32, a, b, c, d uint32) (uint32, uint32, uint32, uint32) {
	return a ^ k[0], b ^ k[1], c ^ k[2], d ^ k[3]
}

func linear(a, b, c, d uint32) (uint32, uint32, uint32, uint32) {
	a = bits.RotateLeft32(a, 13)
	c = bits.RotateLeft32(c, 3)
	b = bits.RotateLeft32(b^a^c, 1)
	d = bits.RotateLeft32(d^c^a<<3, 7)
	a = bits.RotateLeft32(a^b^d, 5)
	c = bits.RotateLeft32(c^d^b<<7, 22)
	return a, b, c, d
}

func unlinear(a, b, c, d uint32) (uint32, uint32, uint32, uint32) {
	c = bits.RotateLeft32(c, -22) ^ d ^ b<<7
	a = bits.RotateLeft32(a, -5) ^ b ^ d
	d = bits.RotateLeft32(d, -7) ^ c ^ a<<3
	b = bits.RotateLeft32(b, -1) ^ a ^ c
	return bits.RotateLeft32(a, -13), b, bits.RotateLeft32(c, -3), d
}

func load(p []byte) (a, b, c, d uint32) {
	le := binary.LittleEndian
	_ = p[15]
	return le.Uint32(p), le.Uint32(p[4:]), le.Uint32(p[8:]), le.Uint32(p[12:])
}

func store(p []byte, a, b, c, d uint32) {
	le := binary.LittleEndian
	_ = p[15]
	le.PutUint32(p, a)
	le.PutUint32(p[4:], b)
	le.PutUint32(p[8:], c)
	le.PutUint32(p[12:], d)
}

// Encrypt encrypts the first block of src into dst.
func (s *block) Encrypt(dst, src []byte) {
	a, b, c, d := load(src)
	for i := 0; i < rounds; i += 8 {
		k := (*[8][4]uint32)(s.keys[i : i+8])
		a, b, c, d = linear(sbox0(mix(&k[0], a, b, c, d)))
		a, b, c, d = linear(sbox1(mix(&k[1], a, b, c, d)))
		a, b, c, d = linear(sbox2(mix(&k[2], a, b, c, d)))
		a, b, c, d = linear(sbox3(mix(&k[3], a, b, c, d)))
		a, b, c, d = linear(sbox4(mix(&k[4], a, b, c, d)))
		a, b, c, d = linear(sbox5(mix(&k[5], a, b, c, d)))
		a, b, c, d = linear(sbox6(mix(&k[6], a, b, c, d)))
		a, b, c, d = sbox7(mix(&k[7], a, b, c, d))
		if i+8 < rounds {
			a, b, c, d = linear(a, b, c, d)
		}
	}
	a, b, c, d = mix(&s.keys[rounds], a, b, c, d)
	store(dst, a, b, c, d)
}

// Decrypt decrypts the first block of src into dst.
func (s *block) Decrypt(dst, src []byte) {
	a, b, c, d := load(src)
	a, b, c, d = mix(&s.keys[rounds], a, b, c, d)
	for i := rounds - 8; i >= 0; i -= 8 {
		k := (*[8][4]uint32)(s.keys[i : i+8])
		if i+8 < rounds {
			a, b, c, d = unlinear(a, b, c, d)
		}
		a, b, c, d = inverse7(a, b, c, d)
		a, b, c, d = inverse6(unlinear(mix(&k[7], a, b, c, d)))
		a, b, c, d = inverse5(unlinear(mix(&k[6], a, b, c, d)))
		a, b, c, d = inverse4(unlinear(mix(&k[5], a, b, c, d)))
		a, b, c, d = inverse3(unlinear(mix(&k[4], a, b, c, d)))
		a, b, c, d = inverse2(unlinear(mix(&k[3], a, b, c, d)))
		a, b, c, d = inverse1(unlinear(mix(&k[2], a, b, c, d)))
		a, b, c, d = inverse0(unlinear(mix(&k[1], a, b, c, d)))
		a, b, c, d = mix(&k[0], a, b, c, d)
	}
	store(dst, a, b, c, d)
}
