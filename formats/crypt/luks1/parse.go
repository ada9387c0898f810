package luks1

import (
	"strings"
	"syscall"

	"platter/formats/crypt"
	"platter/formats/qerr"
)

func unsupported(kind, name string) error {
	return qerr.New(syscall.ENOTSUP, "%s '%s' not supported", kind, name)
}

// parse turns the names in a checked header into algorithms.
func (h *header) parse() (crypt.Spec, crypt.Hash, error) {
	var spec crypt.Spec
	full := text(h.CipherMode[:])
	mode, rest, ok := strings.Cut(full, "-")
	if !ok {
		return spec, "", invalid("Unexpected cipher mode string format '%s'", full)
	}
	ivgen, ivhash, hasHash := strings.Cut(rest, ":")
	if hasHash && !crypt.Hash(ivhash).Known() {
		return spec, "", unsupported("Hash algorithm", ivhash)
	}
	spec.Mode, spec.IVGen = crypt.Mode(mode), crypt.IVGen(ivgen)
	if !spec.Mode.Known() {
		return spec, "", unsupported("Cipher mode", mode)
	}
	keyLen := h.KeyLen
	if spec.Mode == crypt.XTS {
		keyLen /= 2
	}
	name := text(h.CipherName[:])
	if spec.Cipher, ok = crypt.CipherOf(name, int(keyLen)); !ok {
		return spec, "", qerr.New(syscall.ENOTSUP, "Algorithm '%s' with key size %d bytes not supported", name, int32(keyLen))
	}
	hash := crypt.Hash(text(h.HashSpec[:]))
	if !hash.Known() {
		return spec, "", unsupported("Hash algorithm", string(hash))
	}
	if !spec.IVGen.Known() {
		return spec, "", unsupported("IV generator", ivgen)
	}
	if spec.IVGen == crypt.ESSIV && hasHash {
		spec.IVHash = crypt.Hash(ivhash)
	}
	if err := spec.Check(); err != nil {
		return spec, "", err
	}
	if spec.KeyLen() != int(h.KeyLen) { // an odd length under XTS
		return spec, "", qerr.New(syscall.ENOTSUP, "Algorithm '%s' with key size %d bytes not supported", name, int32(keyLen))
	}
	return spec, hash, nil
}
