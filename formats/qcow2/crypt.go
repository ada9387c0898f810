package qcow2

import (
	"context"
	"syscall"

	"platter/formats"
	"platter/formats/crypt"
	"platter/formats/crypt/luks1"
	"platter/formats/option"
	"platter/formats/qerr"
)

// ivOffset is what initialisation vectors are made from: host offsets with LUKS, guest offsets with the old AES method.
func (i *image) ivOffset(g guestOff, h hostOff) uint64 {
	if i.hdr.cryptMethod == cryptAES {
		return uint64(g)
	}
	return uint64(h)
}

// readData reads stored data and decrypts it.
func (i *image) readData(ctx context.Context, p []byte, g guestOff, h hostOff) error {
	i.events.Raise(formats.EventRead)
	if err := i.data.ReadAt(ctx, p, int64(h)); err != nil || i.cipher == nil {
		return err
	}
	return i.cipher.Decrypt(i.ivOffset(g, h), p)
}

// passphrase looks the secret up that option name gives; nil if none is given.
func passphrase(env *formats.Env, v *option.Values, name string) crypt.Passphrase {
	id, ok := v.Raw(name)
	if !ok {
		return nil
	}
	return func() ([]byte, error) { return env.Secret(id) }
}

// openCipher unlocks an encrypted image; where only metadata is wanted, it looks at the LUKS header.
func (i *image) openCipher(ctx context.Context, a formats.OpenArgs) error {
	pass := passphrase(a.Env, a.Options, "encrypt.key-secret")
	noIO := i.flags.Has(formats.NoIO)
	switch {
	case i.hdr.cryptMethod == cryptAES && !noIO:
		if pass == nil {
			return crypt.KeyRequired("encrypt.")
		}
		key, err := pass()
		if err != nil {
			return err
		}
		i.cipher, err = crypt.NewQCow(key)
		return err
	case i.hdr.cryptMethod != cryptLUKS:
		return nil
	case !i.hdr.ext.hasCrypto:
		if noIO {
			return nil
		}
		return qerr.New(syscall.EINVAL, "Missing CRYPTO header for crypt method %d", i.hdr.cryptMethod)
	}
	v, err := luks1.Open(ctx, i.cryptRead(ctx), luks1.OpenOptions{Passphrase: pass, InfoOnly: noIO, Prefix: "encrypt."})
	if err != nil {
		return err
	}
	i.luks, i.cipher = v, v.Block()
	return nil
}

// cryptRead reads from the LUKS header.
func (i *image) cryptRead(ctx context.Context) crypt.ReadFunc {
	return func(off int64, p []byte) error {
		if uint64(off)+uint64(len(p)) > i.hdr.ext.cryptoLength {
			return qerr.New(syscall.EINVAL, "Request for data outside of extension header")
		}
		if err := i.file.ReadAt(ctx, p, int64(i.hdr.ext.cryptoOffset)+off); err != nil {
			return qerr.Errno(qerr.Of(err), "Could not read encryption header")
		}
		return nil
	}
}

// cryptWrite writes to the LUKS header.
func (i *image) cryptWrite(ctx context.Context, flags formats.WriteFlags) crypt.WriteFunc {
	return func(off int64, p []byte) error {
		if uint64(off)+uint64(len(p)) > i.hdr.ext.cryptoLength {
			return qerr.New(syscall.EINVAL, "Request for data outside of extension header")
		}
		if err := i.file.WriteAt(ctx, p, int64(i.hdr.ext.cryptoOffset)+off, flags); err != nil {
			return qerr.Errno(qerr.Of(err), "Could not read encryption header")
		}
		return nil
	}
}

// Encrypted reports whether the header names an encryption method.
func (i *image) Encrypted() bool { return i.hdr.cryptMethod != cryptNone }
