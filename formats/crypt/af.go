package crypt

import (
	"encoding/binary"
	"hash"
	"io"
)

// AFSplit blows key up to stripes·len(key) bytes in dst, of which every bit is needed to get the key back (LUKS1
// specification, section 2.4): all stripes but the last are random, and each changes the key through a diffusion
// made of the hash.
func AFSplit(random io.Reader, h Hash, key, dst []byte, stripes int) error {
	n := len(key)
	if _, err := io.ReadFull(random, dst[:n*(stripes-1)]); err != nil {
		return err
	}
	d := make([]byte, n)
	defer clear(d)
	diffuse := newDiffuser(h)
	for i := range stripes - 1 {
		xorInto(d, dst[i*n:(i+1)*n])
		diffuse.run(d)
	}
	last := dst[n*(stripes-1):][:n]
	for i := range last {
		last[i] = d[i] ^ key[i]
	}
	return nil
}

// AFMerge is the reverse of AFSplit: it writes the key of len(key) bytes that material holds.
func AFMerge(h Hash, material, key []byte, stripes int) {
	n := len(key)
	clear(key)
	diffuse := newDiffuser(h)
	for i := range stripes - 1 {
		xorInto(key, material[i*n:(i+1)*n])
		diffuse.run(key)
	}
	xorInto(key, material[n*(stripes-1):][:n])
}

func xorInto(d, s []byte) {
	for i := range d {
		d[i] ^= s[i]
	}
}

type diffuser struct {
	h   hash.Hash
	sum []byte
	num [4]byte
}

func newDiffuser(h Hash) *diffuser { return &diffuser{h: h.New(), sum: make([]byte, 0, h.Size())} }

// run replaces each piece of p, as long as a digest, by the digest of its big-endian number and itself; the last
// piece may be shorter and takes the digest's head.
func (d *diffuser) run(p []byte) {
	for i := uint32(0); len(p) > 0; i++ {
		n := min(len(p), d.h.Size())
		binary.BigEndian.PutUint32(d.num[:], i)
		d.h.Reset()
		d.h.Write(d.num[:])
		d.h.Write(p[:n])
		d.sum = d.h.Sum(d.sum[:0])
		copy(p[:n], d.sum)
		p = p[n:]
	}
}
