package luks1

import (
	"context"
	"crypto/rand"
	"fmt"
	"math"
	"math/bits"
	"syscall"
	"time"

	"platter/formats/crypt"
	"platter/formats/qerr"
)

// DefaultIterTime is the time that a passphrase's key derivation takes when none is given, in milliseconds.
const DefaultIterTime = 2000

const minRounds = 1000

// CreateOptions says what a new header is like; empty names take QEMU's defaults aes-256, xts, plain64, sha256, and
// for ESSIV sha256.
type CreateOptions struct {
	Passphrase crypt.Passphrase // required
	Cipher     crypt.Cipher
	Mode       crypt.Mode
	IVGen      crypt.IVGen
	IVHash     crypt.Hash // recorded in the header whenever given, used by ESSIV
	Hash       crypt.Hash // of key derivation, key digest and stripes
	IterTime   *uint64    // milliseconds; nil is DefaultIterTime
	Detached   bool       // the payload will be in another file: its offset is 0
	Prefix     string     // put before option names in messages
}

func (o *CreateOptions) setDefaults() {
	setDefault(&o.Cipher, crypt.AES256)
	setDefault(&o.Mode, crypt.XTS)
	setDefault(&o.IVGen, crypt.Plain64)
	setDefault(&o.Hash, crypt.SHA256)
	if o.IVGen == crypt.ESSIV {
		setDefault(&o.IVHash, crypt.SHA256)
	}
}

func setDefault[T ~string](p *T, value T) {
	if *p == "" {
		*p = value
	}
}

func (o *CreateOptions) spec() crypt.Spec {
	s := crypt.Spec{Cipher: o.Cipher, Mode: o.Mode, IVGen: o.IVGen}
	if o.IVGen == crypt.ESSIV {
		s.IVHash = o.IVHash
	}
	return s
}

// Layout checks o and gives the length in bytes of the header with its key material: the offset of the payload in the
// same file, the whole length of a detached header.
func Layout(o CreateOptions) (int64, error) {
	v, _, err := plan(o)
	if err != nil {
		return 0, err
	}
	return v.length(), nil
}

func (v *Volume) length() int64 {
	last := &v.hdr.Slots[Slots-1]
	return last.offset() + int64(materialSectors(v.hdr.KeyLen, stripes))*crypt.SectorSize
}

// plan checks the options in QEMU's order and lays the header out, without keys.
func plan(o CreateOptions) (v *Volume, password []byte, err error) {
	o.setDefaults()
	if o.Passphrase == nil {
		return nil, nil, crypt.KeyRequired(o.Prefix)
	}
	if password, err = o.Passphrase(); err != nil {
		return nil, nil, err
	}
	v = &Volume{spec: o.spec(), hash: o.Hash, limit: math.MaxUint32, pass: o.Passphrase}
	n := v.spec.KeyLen()
	if _, err := crypt.New(v.spec, make([]byte, n)); err != nil {
		return nil, nil, err
	}
	if !o.Hash.Known() {
		return nil, nil, unsupported("Hash algorithm", string(o.Hash))
	}
	if n*stripes%crypt.SectorSize != 0 {
		return nil, nil, qerr.New(syscall.ENOTSUP, "A key of %d bytes is not supported with cipher mode '%s'", n, string(o.Mode))
	}
	mode := fmt.Sprintf("%s-%s", o.Mode, o.IVGen)
	if o.IVHash != "" {
		mode += ":" + string(o.IVHash)
	}
	if len(mode) >= nameLen {
		return nil, nil, invalid("Cipher mode '%s' is too long for LUKS header", mode)
	}
	h := &v.hdr
	copy(h.Magic[:], magic)
	h.Version = version
	copy(h.CipherName[:], o.Cipher.Family())
	copy(h.CipherMode[:], mode)
	copy(h.HashSpec[:], o.Hash)
	h.KeyLen = uint32(n)
	room := uint32(materialSectors(h.KeyLen, stripes))
	for i := range h.Slots {
		h.Slots[i] = slot{State: slotDisabled, Start: headerSectors + uint32(i)*room, Stripes: stripes}
	}
	if !o.Detached {
		h.Payload = headerSectors + Slots*room
	}
	return v, password, nil
}

// Create writes a new header whose slot 0 opens with o.Passphrase. prepare is told the header's length before anything
// is written, so that the caller makes room. The rest of the header's area is not written.
func Create(ctx context.Context, prepare func(length int64) error, write crypt.WriteFunc, o CreateOptions) (*Volume, error) {
	v, password, err := plan(o)
	if err != nil {
		return nil, err
	}
	key := make([]byte, v.spec.KeyLen())
	defer clear(key)
	rand.Read(key)
	rand.Read(v.hdr.DigestSalt[:])
	copy(v.hdr.UUID[:], newUUID())
	iterTime := uint64(DefaultIterTime)
	if o.IterTime != nil {
		iterTime = *o.IterTime
	}
	if v.hdr.DigestRounds, err = rounds(ctx, v.hash, digestLen, iterTime, 8); err != nil {
		return nil, err
	}
	digest, err := crypt.PBKDF2(ctx, v.hash, key, v.hdr.DigestSalt[:], v.hdr.DigestRounds, digestLen)
	if err != nil {
		return nil, err
	}
	copy(v.hdr.Digest[:], digest)
	if v.block, err = crypt.New(v.spec, key); err != nil {
		return nil, err
	}
	if err := prepare(v.length()); err != nil {
		return nil, err
	}
	return v, v.storeKey(ctx, write, 0, password, key, iterTime)
}

func newUUID() string {
	var u [16]byte
	rand.Read(u[:])
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// rounds is how many iterations for a key of n bytes take iterTime milliseconds, divided by share.
func rounds(ctx context.Context, h crypt.Hash, n int, iterTime uint64, share uint64) (uint32, error) {
	want := time.Duration(min(iterTime, 60_000)) * time.Millisecond
	second, err := crypt.Calibrate(ctx, h, n, want)
	if err != nil {
		return 0, err
	}
	hi, lo := bits.Mul64(second, iterTime)
	if hi != 0 {
		return 0, qerr.Errno(syscall.ERANGE, "PBKDF iterations %d too large to scale", second)
	}
	count := lo / 1000 / share
	if count > math.MaxUint32 {
		return 0, qerr.Errno(syscall.ERANGE, "PBKDF iterations %d larger than %d", count, uint32(math.MaxUint32))
	}
	return uint32(max(count, minRounds)), nil
}
