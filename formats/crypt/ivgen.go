package crypt

import (
	"crypto/cipher"
	"encoding/binary"
	"syscall"

	"platter/formats/qerr"
)

// essivNames are the spellings of the cipher families in QEMU's message.
var essivNames = map[string]string{"aes": "AES", "serpent": "Serpent", "twofish": "Twofish"}

// essivCipher finds the cipher with which ESSIV encrypts the sector's number: its key is the digest, so that the
// digest's length chooses the key size, not the size of the data's cipher (as dm-crypt does it).
func essivCipher(c Cipher, h Hash) (Cipher, error) {
	if c.KeyLen() == h.Size() {
		return c, nil
	}
	name, ok := essivNames[c.Family()]
	if !ok {
		return "", qerr.New(syscall.ENOTSUP, "Cipher %s not supported with essiv", string(c))
	}
	e, ok := CipherOf(c.Family(), h.Size())
	if !ok {
		return "", qerr.New(syscall.ENOTSUP, "No %s cipher with key size %d available", name, h.Size())
	}
	return e, nil
}

// ivGen makes the IVs; essiv is nil unless the generator is ESSIV.
type ivGen struct {
	kind  IVGen
	essiv cipher.Block
}

func newIVGen(spec Spec, key []byte) (ivGen, error) {
	g := ivGen{kind: spec.IVGen}
	if spec.IVGen != ESSIV {
		return g, nil
	}
	c, err := essivCipher(spec.Cipher, spec.IVHash)
	if err != nil {
		return g, err
	}
	h := spec.IVHash.New()
	h.Write(key)
	g.essiv, err = c.new(h.Sum(nil))
	return g, err
}

// fill writes the IV of a sector into iv, which is as long as one block of the cipher.
func (g *ivGen) fill(iv []byte, sector uint64) {
	if g.kind == Plain {
		sector &= 0xffffffff
	}
	clear(iv)
	binary.LittleEndian.PutUint64(iv, sector)
	if g.essiv != nil {
		g.essiv.Encrypt(iv, iv)
	}
}
