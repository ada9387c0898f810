package crypt

import (
	"crypto/aes"
	"crypto/cipher"
	"syscall"

	//lint:ignore SA1019 images that exist are encrypted with it
	"golang.org/x/crypto/cast5"
	//lint:ignore SA1019 images that exist are encrypted with it
	"golang.org/x/crypto/twofish"

	"platter/formats/crypt/internal/serpent"
	"platter/formats/qerr"
)

// Cipher is a block cipher with its key size, by QEMU's name (QCryptoCipherAlgo).
type Cipher string

// The ciphers.
const (
	AES128     Cipher = "aes-128"
	AES192     Cipher = "aes-192"
	AES256     Cipher = "aes-256"
	CAST5128   Cipher = "cast5-128"
	Serpent128 Cipher = "serpent-128"
	Serpent192 Cipher = "serpent-192"
	Serpent256 Cipher = "serpent-256"
	Twofish128 Cipher = "twofish-128"
	Twofish192 Cipher = "twofish-192"
	Twofish256 Cipher = "twofish-256"
)

// Mode is a mode of operation, by QEMU's name (QCryptoCipherMode).
type Mode string

// The modes.
const (
	ECB Mode = "ecb"
	CBC Mode = "cbc"
	XTS Mode = "xts"
	CTR Mode = "ctr"
)

// IVGen says how the initialisation vector of a sector is made, by QEMU's name (QCryptoIVGenAlgo).
type IVGen string

// The IV generators: the sector's number in 32 bits, in 64 bits, and in 64 bits encrypted with the hash of the key.
const (
	Plain   IVGen = "plain"
	Plain64 IVGen = "plain64"
	ESSIV   IVGen = "essiv"
)

type cipherFact struct {
	cipher   Cipher
	family   string
	keyLen   int
	blockLen int
	make     func(key []byte) (cipher.Block, error)
}

func newTwofish(key []byte) (cipher.Block, error) { return twofish.NewCipher(key) }
func newCAST5(key []byte) (cipher.Block, error)   { return cast5.NewCipher(key) }
func newSerpent(key []byte) (cipher.Block, error) { return serpent.New(key) }

var cipherFacts = []cipherFact{
	{AES128, "aes", 16, 16, aes.NewCipher},
	{AES192, "aes", 24, 16, aes.NewCipher},
	{AES256, "aes", 32, 16, aes.NewCipher},
	{CAST5128, "cast5", 16, 8, newCAST5},
	{Serpent128, "serpent", 16, 16, newSerpent},
	{Serpent192, "serpent", 24, 16, newSerpent},
	{Serpent256, "serpent", 32, 16, newSerpent},
	{Twofish128, "twofish", 16, 16, newTwofish},
	{Twofish192, "twofish", 24, 16, newTwofish},
	{Twofish256, "twofish", 32, 16, newTwofish},
}

func (c Cipher) fact() (cipherFact, bool) {
	for _, f := range cipherFacts {
		if f.cipher == c {
			return f, true
		}
	}
	return cipherFact{}, false
}

// Ciphers lists the ciphers that this package has.
func Ciphers() []Cipher {
	all := make([]Cipher, len(cipherFacts))
	for i, f := range cipherFacts {
		all[i] = f.cipher
	}
	return all
}

// CipherOf finds the cipher of a family ("aes") that takes a key of keyLen bytes.
func CipherOf(family string, keyLen int) (Cipher, bool) {
	for _, f := range cipherFacts {
		if f.family == family && f.keyLen == keyLen {
			return f.cipher, true
		}
	}
	return "", false
}

// Known reports whether c is one of the ciphers of this package.
func (c Cipher) Known() bool { _, ok := c.fact(); return ok }

// Family is the name without the key size, "aes" for "aes-256": the cipher name in a LUKS header.
func (c Cipher) Family() string { f, _ := c.fact(); return f.family }

// KeyLen is the length of the key in bytes, 0 for an unknown cipher. XTS needs two keys of this length.
func (c Cipher) KeyLen() int { f, _ := c.fact(); return f.keyLen }

// BlockLen is the length of one block in bytes, 0 for an unknown cipher.
func (c Cipher) BlockLen() int { f, _ := c.fact(); return f.blockLen }

func (c Cipher) new(key []byte) (cipher.Block, error) {
	f, ok := c.fact()
	if !ok {
		return nil, qerr.New(syscall.ENOTSUP, "Algorithm '%s' not supported", string(c))
	}
	if len(key) != f.keyLen {
		return nil, qerr.New(syscall.EINVAL, "Cipher key length %d should be %d", len(key), f.keyLen)
	}
	return f.make(key)
}

// Known reports whether m is one of the modes of this package.
func (m Mode) Known() bool { return m == ECB || m == CBC || m == XTS || m == CTR }

// Known reports whether g is one of the IV generators of this package.
func (g IVGen) Known() bool { return g == Plain || g == Plain64 || g == ESSIV }
