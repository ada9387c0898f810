package luks2

import (
	"context"
	"crypto/subtle"
	"errors"

	"platter/formats/crypt"
)

// Limits of what the metadata may ask for, unless OpenOptions sets others. cryptsetup itself never makes slots that
// need more than 4 GiB, and by default at most 1 GiB.
const (
	DefaultMaxMemory     = 2 << 30
	DefaultMaxIterations = 1 << 28
	// maxWork limits passes times memory of Argon2, in KiB: minutes.
	maxWork = 64 << 20
	maxCPUs = 16
)

// OpenOptions says how a container is opened.
type OpenOptions struct {
	Passphrase    crypt.Passphrase // without it and without InfoOnly, Open fails
	InfoOnly      bool             // read and check the metadata only: Volume.Block is nil then
	Detached      bool             // the header is not in the file with the data
	Prefix        string           // put before option names in messages
	MaxMemory     uint64           // bytes that Argon2 may take; 0 is DefaultMaxMemory
	MaxIterations uint32           // of PBKDF2; 0 is DefaultMaxIterations
}

// Volume is an opened container. Its methods may be called concurrently.
type Volume struct {
	hdr     *header
	meta    *metadata
	segment segment
	spec    crypt.Spec
	block   *crypt.Block
	opts    OpenOptions

	dataName, digestName string // of the segment and its digest in the metadata
	digest               digest
}

// Open reads and checks the header and, unless o.InfoOnly, unlocks it. Errors: what read returns; EINVAL for corrupt
// metadata, ENOTSUP for what is not supported, [crypt.ErrPassphrase] when no slot opens, ctx's error.
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
	if o.MaxMemory == 0 {
		o.MaxMemory = DefaultMaxMemory
	}
	if o.MaxIterations == 0 {
		o.MaxIterations = DefaultMaxIterations
	}
	v := &Volume{opts: o}
	var err error
	if v.hdr, err = load(read); err != nil {
		return nil, err
	}
	if v.meta, err = parse(v.hdr); err != nil {
		return nil, err
	}
	name, seg, err := v.meta.data(v.keyEnd(), o.Detached)
	if err != nil {
		return nil, err
	}
	v.segment, v.dataName = seg, name
	if v.digestName, v.digest, err = v.meta.digestOf(name); err != nil {
		return nil, err
	}
	if o.InfoOnly {
		return v, nil
	}
	_, key, err := v.findKey(ctx, read, password)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	if err := v.setKey(key); err != nil {
		return nil, err
	}
	return v, nil
}

// keyEnd is the end of the area with the key material.
func (v *Volume) keyEnd() uint64 { return 2*v.hdr.size + uint64(v.meta.Config.KeyslotsSize) }

// findKey tries the slots of the digest, and gives the one that opens and the key. A slot that cannot be used is passed
// over, and blamed when no other one opens.
func (v *Volume) findKey(ctx context.Context, read crypt.ReadFunc, password []byte) (slot string, key []byte, err error) {
	failed := error(crypt.ErrPassphrase)
	for _, name := range v.meta.candidates(v.digest) {
		k := v.meta.Keyslots[name]
		key, err := v.loadKey(ctx, read, v.opts, name, &k, password)
		if err != nil {
			if ctx.Err() != nil || !errors.As(err, new(*slotError)) {
				return "", nil, err
			}
			failed = err
			continue
		}
		ok, err := v.digest.matches(ctx, v.opts, key)
		if err != nil {
			return "", nil, err
		}
		if ok {
			return name, key, nil
		}
		clear(key)
	}
	return "", nil, failed
}

func (v *Volume) setKey(key []byte) error {
	spec, err := parseSpec(v.segment.Encryption, len(key), v.segment.SectorSize)
	if err != nil {
		return err
	}
	spec.IVOffset = uint64(v.segment.IVTweak)
	v.spec = spec
	v.block, err = crypt.New(spec, key)
	return err
}

func (d *digest) matches(ctx context.Context, o OpenOptions, key []byte) (bool, error) {
	if d.Iterations > o.MaxIterations {
		return false, invalid("LUKS2 digest has %d iterations, which exceeds the limit of %d", d.Iterations, o.MaxIterations)
	}
	sum, err := crypt.PBKDF2(ctx, d.Hash, key, d.Salt, d.Iterations, len(d.Digest))
	return err == nil && subtle.ConstantTimeCompare(sum, d.Digest) == 1, err
}

// Block encrypts and decrypts the data, by offsets in the data; nil after InfoOnly.
func (v *Volume) Block() *crypt.Block { return v.block }

// PayloadOffset is where the data begins, in bytes: in the file of the header, or in the other one if it is detached.
func (v *Volume) PayloadOffset() int64 { return int64(v.segment.Offset) }

// PayloadLen is the length of the data in bytes, -1 if it reaches to the end of the file.
func (v *Volume) PayloadLen() int64 { return v.segment.length() }
