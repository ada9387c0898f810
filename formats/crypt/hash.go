package crypt

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"hash"

	//lint:ignore SA1019 the hash of images that exist
	"golang.org/x/crypto/ripemd160"

	"platter/formats/crypt/internal/sm3"
)

// Hash is a hash function, by QEMU's name (QCryptoHashAlgo).
type Hash string

// The hashes.
const (
	MD5       Hash = "md5"
	SHA1      Hash = "sha1"
	SHA224    Hash = "sha224"
	SHA256    Hash = "sha256"
	SHA384    Hash = "sha384"
	SHA512    Hash = "sha512"
	RIPEMD160 Hash = "ripemd160"
	SM3       Hash = "sm3"
)

type hashFact struct {
	hash Hash
	size int
	make func() hash.Hash
}

var hashFacts = []hashFact{
	{MD5, md5.Size, md5.New},
	{SHA1, sha1.Size, sha1.New},
	{SHA224, sha256.Size224, sha256.New224},
	{SHA256, sha256.Size, sha256.New},
	{SHA384, sha512.Size384, sha512.New384},
	{SHA512, sha512.Size, sha512.New},
	{RIPEMD160, ripemd160.Size, ripemd160.New},
	{SM3, sm3.Size, sm3.New},
}

func (h Hash) fact() (hashFact, bool) {
	for _, f := range hashFacts {
		if f.hash == h {
			return f, true
		}
	}
	return hashFact{}, false
}

// Hashes lists the hashes that this package has.
func Hashes() []Hash {
	all := make([]Hash, len(hashFacts))
	for i, f := range hashFacts {
		all[i] = f.hash
	}
	return all
}

// Known reports whether h is one of the hashes of this package.
func (h Hash) Known() bool { _, ok := h.fact(); return ok }

// Size is the length of a digest in bytes, 0 for an unknown hash.
func (h Hash) Size() int { f, _ := h.fact(); return f.size }

// New starts a digest; it panics for an unknown hash, which the parsers of headers and options refuse.
func (h Hash) New() hash.Hash {
	f, ok := h.fact()
	if !ok {
		panic("crypt: unknown hash " + string(h))
	}
	return f.make()
}
