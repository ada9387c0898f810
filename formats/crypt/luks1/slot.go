package luks1

import (
	"context"
	"crypto/rand"

	"platter/formats/crypt"
)

// storeKey writes the master key into slot i under a passphrase: the material first, then the header that makes the
// slot active. The Volume changes only when both are written.
func (v *Volume) storeKey(ctx context.Context, write crypt.WriteFunc, i int, password, key []byte, iterTime uint64) error {
	next := v.hdr
	s := &next.Slots[i]
	rand.Read(s.Salt[:])
	var err error
	if s.Rounds, err = rounds(ctx, v.hash, len(key), iterTime, 1); err != nil {
		return err
	}
	slotKey, err := crypt.PBKDF2(ctx, v.hash, password, s.Salt[:], s.Rounds, len(key))
	if err != nil {
		return err
	}
	defer clear(slotKey)
	b, err := crypt.New(v.spec, slotKey)
	if err != nil {
		return err
	}
	material := v.material()
	defer clear(material)
	if err := crypt.AFSplit(rand.Reader, v.hash, key, material, stripes); err != nil {
		return err
	}
	if err := b.Encrypt(0, material); err != nil {
		return err
	}
	if err := write(s.offset(), material); err != nil {
		return err
	}
	s.State = slotEnabled
	if err := write(0, next.encode()); err != nil {
		return err
	}
	v.hdr = next
	return nil
}

// eraseKey makes slot i inactive and then overwrites its material. Once is enough for what a file system or an SSD
// lets one overwrite at all.
func (v *Volume) eraseKey(write crypt.WriteFunc, i int) error {
	s := &v.hdr.Slots[i]
	clear(s.Salt[:])
	s.Rounds, s.State = 0, slotDisabled
	failed := write(0, v.hdr.encode())
	material := v.material()
	rand.Read(material)
	if err := write(s.offset(), material); err != nil && failed == nil {
		failed = err
	}
	return failed
}

func (v *Volume) active(i int) bool { return v.hdr.Slots[i].State == slotEnabled }

func (v *Volume) countActive() int {
	n := 0
	for i := range v.hdr.Slots {
		if v.active(i) {
			n++
		}
	}
	return n
}
