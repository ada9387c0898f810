package crypt

import (
	"crypto/subtle"
	"encoding/binary"
)

// batchLen is how many bytes a mode works on at once; the largest sector of LUKS2 fits.
const batchLen = 4096

// scratch is the working space of one batch; it lives on the heap because slices of it go through cipher.Block.
type scratch struct {
	mask [batchLen]byte // XTS tweaks, CTR key stream, or the cipher text that CBC decryption overwrites
	iv   [batchLen / SectorSize * 16]byte
}

// xts is IEEE 1619 XTS: both exclusive-ors over the whole batch with tweaks made in advance. A sector is a whole
// number of blocks, so that there is no cipher text stealing.
func (b *Block) xts(s *scratch, sector uint64, p []byte, encrypt bool) {
	for i := 0; i < len(p); i += b.size {
		iv := s.iv[i/SectorSize*16:][:16:16]
		b.iv.fill(iv, sector+uint64(i/SectorSize))
		b.tweak.Encrypt(iv, iv)
	}
	for i := 0; i < len(p); i += b.size {
		tweaks(s.mask[i:i+b.size], s.iv[i/SectorSize*16:][:16:16])
	}
	subtle.XORBytes(p, p, s.mask[:len(p)])
	b.blocks(p, encrypt)
	subtle.XORBytes(p, p, s.mask[:len(p)])
}

// tweaks fills mask with first, first·α, first·α² … in GF(2^128). The powers are made in four lanes, each a multiple
// of α⁴ apart, because the doublings of a single lane wait for one another.
func tweaks(mask, first []byte) {
	le := binary.LittleEndian
	lo0, hi0 := le.Uint64(first), le.Uint64(first[8:])
	lo1, hi1 := double(lo0, hi0)
	lo2, hi2 := double(lo1, hi1)
	lo3, hi3 := double(lo2, hi2)
	for len(mask) >= 64 {
		m := mask[:64:64]
		le.PutUint64(m[0:], lo0)
		le.PutUint64(m[8:], hi0)
		le.PutUint64(m[16:], lo1)
		le.PutUint64(m[24:], hi1)
		le.PutUint64(m[32:], lo2)
		le.PutUint64(m[40:], hi2)
		le.PutUint64(m[48:], lo3)
		le.PutUint64(m[56:], hi3)
		lo0, hi0 = times16(lo0, hi0)
		lo1, hi1 = times16(lo1, hi1)
		lo2, hi2 = times16(lo2, hi2)
		lo3, hi3 = times16(lo3, hi3)
		mask = mask[64:]
	}
}

// double multiplies by α, reducing with x^128 = x^7 + x^2 + x + 1.
func double(lo, hi uint64) (uint64, uint64) {
	carry := uint64(int64(hi)>>63) & 0x87
	return lo<<1 ^ carry, hi<<1 | lo>>63
}

// times16 multiplies by α⁴: the four bits that fall out at the top come back as their product with the polynomial.
func times16(lo, hi uint64) (uint64, uint64) {
	out := hi >> 60
	return lo<<4 ^ out ^ out<<1 ^ out<<2 ^ out<<7, hi<<4 | lo>>60
}

// cbcEncrypt runs the chains of the batch's sectors side by side: within one chain every block waits for the last. Two
// loops, because a 16-byte load right after the two 8-byte stores that it covers stalls.
func (b *Block) cbcEncrypt(s *scratch, sector uint64, p []byte) {
	n := b.data.BlockSize()
	for i := 0; i < len(p); i += b.size {
		b.iv.fill(s.iv[i/SectorSize*16:][:n:n], sector+uint64(i/SectorSize))
	}
	for j := 0; j < b.size; j += n {
		for i := j; i < len(p); i += b.size {
			prev := s.iv[i/SectorSize*16:]
			if j > 0 {
				prev = p[i-n:]
			}
			xorBlock(p[i:i+n:i+n], prev[:n:n])
		}
		for i := j; i < len(p); i += b.size {
			b.data.Encrypt(p[i:i+n:i+n], p[i:i+n:i+n])
		}
	}
}

func xorBlock(p, q []byte) {
	le := binary.LittleEndian
	le.PutUint64(p, le.Uint64(p)^le.Uint64(q))
	if len(p) == 16 && len(q) == 16 {
		le.PutUint64(p[8:], le.Uint64(p[8:])^le.Uint64(q[8:]))
	}
}

// cbcDecrypt keeps the cipher text, decrypts all blocks, and then chains.
func (b *Block) cbcDecrypt(s *scratch, sector uint64, p []byte) {
	n := b.data.BlockSize()
	copy(s.mask[:], p)
	b.blocks(p, false)
	iv := s.iv[:n:n]
	for i := 0; i < len(p); i += b.size {
		b.iv.fill(iv, sector+uint64(i/SectorSize))
		q := p[i : i+b.size]
		subtle.XORBytes(q, q, iv)
		subtle.XORBytes(q[n:], q[n:], s.mask[i:i+b.size-n])
	}
}

// ctr counts up from the IV, a big-endian number as wide as the block, anew in each sector.
func (b *Block) ctr(s *scratch, sector uint64, p []byte) {
	n := b.data.BlockSize()
	for i := 0; i < len(p); i += b.size {
		b.iv.fill(s.mask[i:i+n], sector+uint64(i/SectorSize))
		counters(s.mask[i:i+b.size], n)
	}
	b.blocks(s.mask[:len(p)], true)
	subtle.XORBytes(p, p, s.mask[:len(p)])
}

// counters fills m with the counters that follow the first one of n bytes, which is there.
func counters(m []byte, n int) {
	be := binary.BigEndian
	var hi uint64
	lo := be.Uint64(m[n-8:])
	if n == 16 {
		hi = be.Uint64(m)
	}
	for m = m[n:]; len(m) >= n; m = m[n:] {
		lo++
		if lo == 0 {
			hi++
		}
		if n == 16 {
			be.PutUint64(m, hi)
		}
		be.PutUint64(m[n-8:], lo)
	}
}
