package luks2

import (
	"context"

	"golang.org/x/crypto/argon2"

	"platter/formats/crypt"
	"platter/formats/qerr"
)

// slotError is why one slot cannot be used, while another one still may be.
type slotError struct{ error }

func (e *slotError) Unwrap() error { return e.error }

func slotFailed(name string, err error) error {
	return &slotError{qerr.Prepend(err, "Keyslot %s: ", name)}
}

// loadKey gives the key that a slot holds under the passphrase; whether it is the right one, the digest tells.
func (v *Volume) loadKey(ctx context.Context, read crypt.ReadFunc, o OpenOptions, name string, k *keyslot, password []byte) ([]byte, error) {
	spec, err := v.checkSlot(k, o)
	if err != nil {
		return nil, slotFailed(name, err)
	}
	slotKey, err := k.KDF.derive(ctx, password, k.Area.KeySize)
	if err != nil {
		return nil, err
	}
	defer clear(slotKey)
	n := k.KeySize * k.AF.Stripes
	material := make([]byte, (n+crypt.SectorSize-1)/crypt.SectorSize*crypt.SectorSize)
	defer clear(material)
	if err := read(int64(k.Area.Offset), material); err != nil {
		return nil, slotFailed(name, err)
	}
	b, err := crypt.New(spec, slotKey)
	if err != nil {
		return nil, slotFailed(name, err)
	}
	if err := b.Decrypt(0, material); err != nil {
		return nil, err
	}
	key := make([]byte, k.KeySize)
	crypt.AFMerge(k.AF.Hash, material, key, k.AF.Stripes)
	return key, nil
}

// checkSlot checks all that a slot asks for before any of it is done.
func (v *Volume) checkSlot(k *keyslot, o OpenOptions) (crypt.Spec, error) {
	var none crypt.Spec
	switch {
	case k.Type != "luks2" || k.AF.Type != "luks1" || k.Area.Type != "raw":
		return none, unsupported("type '%s' with '%s' in '%s' is not supported", k.Type, k.AF.Type, k.Area.Type)
	case !k.AF.Hash.Known():
		return none, unsupported("Hash algorithm '%s' not supported", string(k.AF.Hash))
	}
	if _, err := parseSpec(v.segment.Encryption, k.KeySize, v.segment.SectorSize); err != nil {
		return none, err
	}
	spec, err := parseSpec(k.Area.Encryption, k.Area.KeySize, crypt.SectorSize)
	if err != nil {
		return none, err
	}
	// The largest key has 64 bytes, so that 2^16 stripes are 4 MiB.
	if k.AF.Stripes < 1 || k.AF.Stripes > 1<<16 {
		return none, invalid("invalid number of stripes %d", k.AF.Stripes)
	}
	start, size := uint64(k.Area.Offset), uint64(k.Area.Size)
	if start < 2*v.hdr.size || size > v.keyEnd()-2*v.hdr.size || start > v.keyEnd()-size {
		return none, invalid("key material is outside its area")
	}
	if need := uint64(k.KeySize) * uint64(k.AF.Stripes); need > size {
		return none, invalid("key material of %d bytes in an area of %d", need, size)
	}
	return spec, k.KDF.check(o)
}

func (f *kdf) check(o OpenOptions) error {
	switch f.Type {
	case "pbkdf2":
		if !f.Hash.Known() {
			return unsupported("Hash algorithm '%s' not supported", string(f.Hash))
		}
		if f.Iterations == 0 {
			return invalid("iteration count is zero")
		}
		if f.Iterations > o.MaxIterations {
			return invalid("%d iterations exceed the limit of %d", f.Iterations, o.MaxIterations)
		}
	case "argon2i", "argon2id":
		if f.Time == 0 || f.Memory == 0 || f.CPUs == 0 || f.CPUs > maxCPUs {
			return invalid("invalid parameters of %s", f.Type)
		}
		if uint64(f.Memory)<<10 > o.MaxMemory {
			return invalid("%s needs %d KiB of memory, the limit is %d", f.Type, f.Memory, o.MaxMemory>>10)
		}
		if uint64(f.Memory)*uint64(f.Time) > maxWork {
			return invalid("%s with %d passes over %d KiB of memory is too much work", f.Type, f.Time, f.Memory)
		}
	default:
		return unsupported("key derivation '%s' is not supported", f.Type)
	}
	return nil
}

func (f *kdf) derive(ctx context.Context, password []byte, n int) ([]byte, error) {
	switch f.Type {
	case "argon2i":
		return argon2.Key(password, f.Salt, f.Time, f.Memory, uint8(f.CPUs), uint32(n)), ctx.Err()
	case "argon2id":
		return argon2.IDKey(password, f.Salt, f.Time, f.Memory, uint8(f.CPUs), uint32(n)), ctx.Err()
	}
	return crypt.PBKDF2(ctx, f.Hash, password, f.Salt, f.Iterations, n)
}
