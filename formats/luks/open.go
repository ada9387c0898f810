package luks

import (
	"context"
	"syscall"

	"platter/formats"
	"platter/formats/crypt"
	"platter/formats/crypt/luks1"
	"platter/formats/crypt/luks2"
	"platter/formats/crypt/secret"
	"platter/formats/qerr"
)

// image is an open container.
type image struct {
	file    formats.File // the payload
	header  formats.File // the same, or the child with the detached header
	v1      *luks1.Volume
	v2      *luks2.Volume // set if v1 is nil
	block   *crypt.Block  // nil if the image was opened without I/O
	payload int64         // bytes
	env     *formats.Env
}

func open(ctx context.Context, a formats.OpenArgs) (formats.Image, error) {
	if a.File == nil {
		return nil, qerr.New(syscall.EINVAL, "A block device must be specified for \"file\"")
	}
	d := &image{file: a.File, header: a.File, env: a.Env}
	if h := a.Children["header"]; h != nil {
		d.header = h
	}
	var head [8]byte
	if err := d.header.ReadAt(ctx, head[:], 0); err != nil {
		return nil, headerFailed(err, "read")
	}
	var err error
	if luks2.Probe(head[:]) || !luks1.Probe(head[:]) && luks2.Damaged(d.read(ctx)) {
		err = d.openVersion2(ctx, a)
	} else {
		err = d.openVersion1(ctx, a)
	}
	if err != nil {
		return nil, err
	}
	if d.payload > d.file.Size() {
		return nil, qerr.Errno(syscall.EIO, "Could not refresh total sector count")
	}
	return d, nil
}

// passphrase is nil where no secret is named.
func passphrase(a formats.OpenArgs) crypt.Passphrase {
	id, ok := a.Options.Raw("key-secret")
	if !ok {
		return nil
	}
	return secret.Passphrase(a.Env.Secret, id)
}

func (d *image) detached() bool { return d.header != d.file }

func (d *image) openVersion1(ctx context.Context, a formats.OpenArgs) error {
	v, err := luks1.Open(ctx, d.read(ctx), luks1.OpenOptions{
		Passphrase: passphrase(a), InfoOnly: a.Flags.Has(formats.NoIO), Detached: d.detached()})
	if err != nil {
		return err
	}
	d.v1, d.block, d.payload = v, v.Block(), v.PayloadOffset()
	return nil
}

func (d *image) openVersion2(ctx context.Context, a formats.OpenArgs) error {
	v, err := luks2.Open(ctx, d.read(ctx), luks2.OpenOptions{
		Passphrase: passphrase(a), InfoOnly: a.Flags.Has(formats.NoIO), Detached: d.detached()})
	if err != nil {
		return err
	}
	d.v2, d.block, d.payload = v, v.Block(), v.PayloadOffset()
	if n := v.PayloadLen(); n > d.file.Size()-d.payload {
		return qerr.New(syscall.EINVAL, "LUKS2 segment of %d bytes at %d reaches past the end of the file", n, d.payload)
	}
	return nil
}

// read reads the header and key material; past the end of the file there are zeroes.
func (d *image) read(ctx context.Context) crypt.ReadFunc {
	return func(off int64, p []byte) error {
		return headerFailed(d.header.ReadAt(ctx, p, off), "read")
	}
}

// headerFailed says what could not be done with the header.
func headerFailed(err error, verb string) error {
	if err == nil {
		return nil
	}
	return qerr.Errno(qerr.Of(err), "Could not %s encryption header", verb)
}
