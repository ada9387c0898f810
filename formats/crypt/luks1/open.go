package luks1

import (
	"context"

	"platter/formats/crypt"
)

// DefaultMaxIterations is the limit of OpenOptions.MaxIterations when that is 0: about a minute a slot on a slow
// machine. iter-time's default asks for some ten million.
const DefaultMaxIterations = 1 << 28

// OpenOptions says how a header is opened.
type OpenOptions struct {
	// Passphrase is asked before the header is read. Without it and without InfoOnly, Open fails.
	Passphrase crypt.Passphrase
	// InfoOnly reads and checks the header without unlocking it: Volume.Block is nil then.
	InfoOnly bool
	// Detached is that the header is not in the file with the payload.
	Detached bool
	// Prefix is put before option names in messages: "encrypt." in qcow2.
	Prefix string
	// MaxIterations refuses a larger iteration count; 0 is DefaultMaxIterations.
	MaxIterations uint32
}

// Volume is an opened header. Its methods may be called concurrently, except that Amend excludes all others.
type Volume struct {
	hdr   header
	spec  crypt.Spec
	hash  crypt.Hash
	block *crypt.Block
	limit uint32
	pass  crypt.Passphrase // opens a slot when Amend is given none
}

// Open reads, checks and, unless o.InfoOnly, unlocks a header. Errors: what read returns; EINVAL for a corrupt header,
// ENOTSUP for algorithms that are not supported, [crypt.ErrPassphrase] when no slot opens, ctx's error.
func Open(ctx context.Context, read crypt.ReadFunc, o OpenOptions) (*Volume, error) {
	var password []byte
	if !o.InfoOnly {
		if o.Passphrase == nil {
			return nil, crypt.KeyRequired(o.Prefix)
		}
		var err error
		if password, err = o.Passphrase(); err != nil {
			return nil, err
		}
	}
	v := &Volume{limit: o.MaxIterations, pass: o.Passphrase}
	if v.limit == 0 {
		v.limit = DefaultMaxIterations
	}
	var p [headerSize]byte
	if err := read(0, p[:]); err != nil {
		return nil, err
	}
	v.hdr.decode(p[:])
	if err := v.hdr.check(o.Detached); err != nil {
		return nil, err
	}
	var err error
	if v.spec, v.hash, err = v.hdr.parse(); err != nil {
		return nil, err
	}
	if o.InfoOnly {
		return v, nil
	}
	key, err := v.findKey(ctx, read, password)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	v.block, err = crypt.New(v.spec, key)
	return v, err
}

// Block encrypts and decrypts the payload, by offsets in the payload; nil after InfoOnly.
func (v *Volume) Block() *crypt.Block { return v.block }

// PayloadOffset is where the payload begins, in bytes; 0 when it is in another file.
func (v *Volume) PayloadOffset() int64 { return int64(v.hdr.Payload) * crypt.SectorSize }

// findKey tries the passphrase on all slots and gives the master key. A slot above the iteration limit is passed over,
// and blamed when no other one opens.
func (v *Volume) findKey(ctx context.Context, read crypt.ReadFunc, password []byte) ([]byte, error) {
	failed := error(crypt.ErrPassphrase)
	for i := range v.hdr.Slots {
		if err := v.checkRounds(i); err != nil {
			failed = err
			continue
		}
		key, err := v.loadKey(ctx, read, i, password)
		if key != nil || err != nil {
			return key, err
		}
	}
	return nil, failed
}

func (v *Volume) checkRounds(i int) error {
	s := &v.hdr.Slots[i]
	if s.State == slotEnabled && s.Rounds > v.limit {
		return invalid("Keyslot %d has %d iterations, which exceeds the limit of %d", i, s.Rounds, v.limit)
	}
	if v.hdr.DigestRounds > v.limit {
		return invalid("LUKS key iteration count %d exceeds the limit of %d", v.hdr.DigestRounds, v.limit)
	}
	return nil
}

// loadKey opens slot i; a nil key without an error is that the slot is not active or holds another passphrase.
func (v *Volume) loadKey(ctx context.Context, read crypt.ReadFunc, i int, password []byte) ([]byte, error) {
	s := &v.hdr.Slots[i]
	if s.State != slotEnabled {
		return nil, nil
	}
	if err := v.checkRounds(i); err != nil {
		return nil, err
	}
	n := v.spec.KeyLen()
	slotKey, err := crypt.PBKDF2(ctx, v.hash, password, s.Salt[:], s.Rounds, n)
	if err != nil {
		return nil, err
	}
	defer clear(slotKey)
	material := v.material()
	defer clear(material)
	if err := read(s.offset(), material); err != nil {
		return nil, err
	}
	b, err := crypt.New(v.spec, slotKey)
	if err != nil {
		return nil, err
	}
	if err := b.Decrypt(0, material); err != nil {
		return nil, err
	}
	key := make([]byte, n)
	crypt.AFMerge(v.hash, material, key, stripes)
	digest, err := crypt.PBKDF2(ctx, v.hash, key, v.hdr.DigestSalt[:], v.hdr.DigestRounds, digestLen)
	if err != nil {
		return nil, err
	}
	if string(digest) != string(v.hdr.Digest[:]) {
		clear(key)
		return nil, nil
	}
	return key, nil
}

// material is a buffer for one slot's key material, in whole sectors.
func (v *Volume) material() []byte {
	n := v.spec.KeyLen() * stripes
	return make([]byte, (n+crypt.SectorSize-1)/crypt.SectorSize*crypt.SectorSize)
}

func (s *slot) offset() int64 { return int64(s.Start) * crypt.SectorSize }
