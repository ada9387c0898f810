// Package crypt encrypts and decrypts the sectors of disk images, and holds what the encrypted formats share.
//
// It is machinery: bytes in, bytes out. It knows nothing of images, nodes or files; where a header has to be read or
// written the caller passes a [ReadFunc] or [WriteFunc]. What lies where:
//
//	crypt           ciphers, modes, IV generators, hashes; Block; PBKDF2; the anti-forensic splitter; qcow's old AES
//	crypt/luks1     the LUKS1 header: open, create, key slots            (drivers luks and qcow2)
//	crypt/luks2     the LUKS2 header: open, read-write use of the data   (driver luks)
//	crypt/secret    secrets as `--object secret,…` gives them
//
// A [Block] is a cipher, a mode and an IV generator with a key. It is immutable, may be used by many goroutines at
// once, allocates nothing in a call, and spreads a large buffer over the processors.
//
// Go's crypto/aes offers one block at a time only. The modes therefore work in batches of 4 KiB: all IVs, tweaks or
// counters of a batch first, then the cipher over independent blocks in a tight loop, so that the processor overlaps
// the AES rounds of neighbouring blocks; the exclusive-or is done over whole batches. CBC encryption, whose blocks
// depend on each other, runs the sectors of a batch side by side for the same reason.
//
// The names of algorithms are QEMU's ("aes-256", "xts", "plain64", "sha256"), and so are the messages of errors.
// What QEMU 10.0.2's Debian build accepts is accepted here: aes, serpent and twofish with 128, 192 and 256 bits,
// cast5-128; ecb, cbc, xts, ctr; plain, plain64, essiv; md5, sha1, sha224, sha256, sha384, sha512, ripemd160, sm3.
package crypt
