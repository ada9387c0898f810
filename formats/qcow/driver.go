package qcow

import (
	"context"
	"syscall"

	"platter/formats"
	"platter/formats/crypt"
	"platter/formats/internal/tablecache"
	"platter/formats/option"
	"platter/formats/qerr"
)

// Driver is the qcow format, version 1.
func Driver() *formats.Driver {
	return &formats.Driver{
		Name: "qcow", Kind: formats.Format, Backing: true, Compresses: true,
		OpenOpts: option.Schema{
			{Name: "encrypt.format", Help: "Encrypt the image, format choices: 'aes'"},
			{Name: "encrypt.key-secret", Help: "ID of the secret that provides the AES encryption key"},
		},
		StrongOpts: []string{"encrypt.key-secret"},
		CreateOpts: option.Schema{
			{Name: "size", Type: option.Size, Help: "Virtual disk size"},
			{Name: "backing_file", Help: "File name of a base image"},
			{Name: "backing_fmt", Help: "Format of the backing image"},
			{Name: "encryption", Type: option.Bool,
				Help: "Encrypt the image with format 'aes'. (Deprecated in favor of encrypt.format=aes)"},
			{Name: "encrypt.format", Help: "Encrypt the image, format choices: 'aes'"},
			{Name: "encrypt.key-secret", Help: "ID of the secret that provides the AES encryption key"},
		},
		Probe:       probe,
		Open:        open,
		CreateNeeds: createNeeds,
		Create:      create,
	}
}

// Sizes of caches in bytes.
const (
	l1Page      = 4096 // bytes of the L1 table that are read together
	l1Cache     = 4 << 20
	l2Cache     = 32 << 20
	decodeCache = 2 << 20
)

func open(ctx context.Context, a formats.OpenArgs) (formats.Image, error) {
	if a.File == nil {
		return nil, qerr.New(syscall.EINVAL, "A block device must be specified for \"file\"")
	}
	h, err := readHeader(ctx, a.File)
	if err != nil {
		return nil, err
	}
	d := &image{file: a.File, events: formats.EventsOf(a.File), head: h, clusterSize: 1 << h.clusterBits, pending: map[int64]bool{}}
	d.free.L = &d.mu
	if err := d.openCipher(a); err != nil {
		return nil, err
	}
	d.l1 = tablecache.New(l1Page, l1Cache/l1Page)
	d.l2 = tablecache.New(8<<h.l2Bits, l2Cache>>(h.l2Bits+3))
	d.decoded = newDecoded()
	d.end = a.File.Size()
	return d, nil
}

// openCipher checks the encryption options against the header, and makes the cipher unless only metadata is wanted.
func (d *image) openCipher(a formats.OpenArgs) error {
	format, given := a.Options.Raw("encrypt.format")
	switch {
	case d.head.crypt == cryptNone && given:
		return qerr.New(syscall.EINVAL, "No encryption in image header, but options specified format '%s'", format)
	case d.head.crypt == cryptNone:
		return nil
	case given && format != "aes":
		return qerr.New(syscall.EINVAL, "Header reported 'aes' encryption format but options specify '%s'", format)
	case a.Flags.Has(formats.NoIO):
		return nil
	}
	id, ok := a.Options.Raw("encrypt.key-secret")
	if !ok {
		return crypt.KeyRequired("encrypt.")
	}
	key, err := a.Env.Secret(id)
	if err != nil {
		return err
	}
	d.cipher, err = crypt.NewQCow(key)
	return err
}
