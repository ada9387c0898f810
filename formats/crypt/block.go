package crypt

import (
	"crypto/cipher"
	"sync"
	"syscall"

	"platter/formats/qerr"
)

// SectorSize is the unit in which IVs count, whatever the size of the encrypted sectors is.
const SectorSize = 512

// ReadFunc reads len(p) bytes at byte offset off of the file that holds a header, or fails.
type ReadFunc func(off int64, p []byte) error

// WriteFunc writes len(p) bytes at byte offset off of the file that holds a header, or fails.
type WriteFunc func(off int64, p []byte) error

// Passphrase looks a passphrase up when it is needed. Its bytes are used as they are.
type Passphrase func() ([]byte, error)

// Fixed is a Passphrase that is known already.
func Fixed(p []byte) Passphrase { return func() ([]byte, error) { return p, nil } }

// ErrPassphrase is the kind of the error when no key slot opens with the passphrase.
var ErrPassphrase = qerr.New(syscall.EACCES, "Invalid password, cannot unlock any keyslot")

// KeyRequired is the error for an encrypted image that is opened without a key; prefix is that of the option,
// "encrypt." in qcow2 and qcow, empty in luks.
func KeyRequired(prefix string) error {
	return qerr.New(syscall.EINVAL, "Parameter '%skey-secret' is required for cipher", prefix)
}

// Spec says how sectors are encrypted.
type Spec struct {
	Cipher     Cipher
	Mode       Mode
	IVGen      IVGen
	IVHash     Hash   // of ESSIV, otherwise unused
	SectorSize int    // bytes encrypted with one IV: a power of two in 512..4096; 0 is 512
	IVOffset   uint64 // added to the number of each sector before its IV is made
}

// KeyLen is the number of key bytes that Spec needs: twice the cipher's for XTS.
func (s Spec) KeyLen() int {
	if s.Mode == XTS {
		return 2 * s.Cipher.KeyLen()
	}
	return s.Cipher.KeyLen()
}

// Check reports what is not supported in s, in QEMU's words.
func (s Spec) Check() error {
	switch {
	case !s.Cipher.Known():
		return qerr.New(syscall.ENOTSUP, "Algorithm '%s' not supported", string(s.Cipher))
	case !s.Mode.Known():
		return qerr.New(syscall.ENOTSUP, "Cipher mode '%s' not supported", string(s.Mode))
	case !s.IVGen.Known():
		return qerr.New(syscall.ENOTSUP, "IV generator '%s' not supported", string(s.IVGen))
	case s.IVGen == ESSIV && s.IVHash == "":
		return qerr.New(syscall.EINVAL, "Missing IV generator hash specification")
	case s.IVGen == ESSIV && !s.IVHash.Known():
		return qerr.New(syscall.ENOTSUP, "Hash algorithm '%s' not supported", string(s.IVHash))
	case s.SectorSize != 0 && (s.SectorSize < 512 || s.SectorSize > batchLen || s.SectorSize&(s.SectorSize-1) != 0):
		return qerr.New(syscall.ENOTSUP, "Encryption sector size %d is not supported", s.SectorSize)
	}
	if s.IVGen == ESSIV {
		_, err := essivCipher(s.Cipher, s.IVHash)
		return err
	}
	return nil
}

// Block encrypts and decrypts sectors in place. All methods may be called concurrently.
type Block struct {
	spec    Spec
	data    cipher.Block
	tweak   cipher.Block // XTS: the second key
	iv      ivGen
	size    int
	scratch sync.Pool // *scratch
	batches sync.Pool // *batch
}

// New makes a Block. The key is not kept.
func New(spec Spec, key []byte) (*Block, error) {
	if spec.SectorSize == 0 {
		spec.SectorSize = SectorSize
	}
	if err := spec.Check(); err != nil {
		return nil, err
	}
	if spec.Mode == XTS && spec.Cipher.BlockLen() != 16 {
		return nil, qerr.New(syscall.ENOTSUP, "Unsupported cipher mode %s", string(spec.Mode))
	}
	if len(key) != spec.KeyLen() {
		return nil, qerr.New(syscall.EINVAL, "Cipher key length %d should be %d", len(key), spec.KeyLen())
	}
	b := &Block{spec: spec, size: spec.SectorSize}
	b.scratch.New = func() any { return new(scratch) }
	b.batches.New = func() any { return newBatch() }
	dataKey := key
	var err error
	if spec.Mode == XTS {
		dataKey = key[:len(key)/2]
		if b.tweak, err = spec.Cipher.new(key[len(key)/2:]); err != nil {
			return nil, err
		}
	}
	if b.data, err = spec.Cipher.new(dataKey); err != nil {
		return nil, err
	}
	if b.iv, err = newIVGen(spec, key); err != nil {
		return nil, err
	}
	return b, nil
}

// Spec is what the Block was made from, with SectorSize set.
func (b *Block) Spec() Spec { return b.spec }

// SectorSize is the number of bytes encrypted with one IV; offsets and lengths are multiples of it.
func (b *Block) SectorSize() int { return b.size }

// Encrypt encrypts p in place. off is the byte offset from which the IVs count: in LUKS the offset in the payload.
func (b *Block) Encrypt(off uint64, p []byte) error { return b.crypt(off, p, true) }

// Decrypt is the reverse of Encrypt.
func (b *Block) Decrypt(off uint64, p []byte) error { return b.crypt(off, p, false) }

func (b *Block) crypt(off uint64, p []byte, encrypt bool) error {
	if off%uint64(b.size) != 0 || len(p)%b.size != 0 {
		return qerr.New(syscall.EINVAL, "crypt: offset %d and length %d are not multiples of the sector size %d", off, len(p), b.size)
	}
	if n := parts(len(p)); n > 1 {
		b.spread(off, p, encrypt, n)
		return nil
	}
	b.run(off, p, encrypt)
	return nil
}

// run does the work on one processor.
func (b *Block) run(off uint64, p []byte, encrypt bool) {
	s := b.scratch.Get().(*scratch)
	sector := off/SectorSize + b.spec.IVOffset
	for len(p) > 0 {
		n := min(len(p), batchLen)
		b.batch(s, sector, p[:n:n], encrypt)
		p = p[n:]
		sector += uint64(n / SectorSize)
	}
	b.scratch.Put(s)
}

func (b *Block) batch(s *scratch, sector uint64, p []byte, encrypt bool) {
	switch b.spec.Mode {
	case XTS:
		b.xts(s, sector, p, encrypt)
	case CBC:
		if encrypt {
			b.cbcEncrypt(s, sector, p)
		} else {
			b.cbcDecrypt(s, sector, p)
		}
	case CTR:
		b.ctr(s, sector, p)
	case ECB:
		b.blocks(p, encrypt)
	}
}

// blocks runs the cipher over each block of p. Nothing else happens in the loop: the processor overlaps the rounds of
// neighbouring blocks only as long as its window reaches.
func (b *Block) blocks(p []byte, encrypt bool) {
	c := b.data
	n := c.BlockSize()
	if encrypt {
		for len(p) >= n {
			c.Encrypt(p[:n:n], p[:n:n])
			p = p[n:]
		}
		return
	}
	for len(p) >= n {
		c.Decrypt(p[:n:n], p[:n:n])
		p = p[n:]
	}
}
