package qcow2

import "context"

// cipher encrypts and decrypts whole sectors. at is the offset that the format takes the initialisation vector from:
// host offsets with LUKS, guest offsets with the old AES method.
type cipher interface {
	SectorSize() int
	Encrypt(dst, src []byte, at int64) error
	Decrypt(dst, src []byte, at int64) error
}

// ivOffset is what initialisation vectors are made from.
func (i *image) ivOffset(g guestOff, h hostOff) int64 {
	if i.hdr.cryptMethod == cryptAES {
		return int64(g)
	}
	return int64(h)
}

// readData reads stored data and decrypts it.
func (i *image) readData(ctx context.Context, p []byte, g guestOff, h hostOff) error {
	if err := i.data.ReadAt(ctx, p, int64(h)); err != nil || i.cipher == nil {
		return err
	}
	return i.cipher.Decrypt(p, p, i.ivOffset(g, h))
}
