package qcow

import (
	"context"
	"math"
	"syscall"

	"platter/formats"
	"platter/formats/crypt"
	"platter/formats/option"
	"platter/formats/qerr"
)

// createNeeds needs nothing; it refuses what QEMU refuses before a file is made: two options that are the same one, and
// a backing format that does not exist.
func createNeeds(a formats.CreateArgs) ([]formats.Need, error) {
	if a.Options.Bool("encryption", false) && a.Options.Has("encrypt.format") {
		return nil, qerr.New(syscall.EINVAL, "'encrypt.format' and its alias 'encryption' can't be used at the same time")
	}
	if f, ok := a.Options.Raw("backing_fmt"); ok && !a.HasDriver(f) {
		return nil, qerr.New(syscall.EINVAL, "unrecognized backing format '%s'", f)
	}
	return nil, nil
}

// encryption gives the method that the options ask for.
func encryption(v *option.Values) (uint32, error) {
	format, given := v.Raw("encrypt.format")
	if v.Bool("encryption", false) {
		format, given = "aes", true
	}
	switch {
	case !given && v.Has("encrypt.key-secret"):
		return 0, qerr.New(syscall.EINVAL, "Parameter 'encrypt.format' is missing")
	case !given:
		return cryptNone, nil
	}
	switch format {
	case "aes", "qcow", "luks":
		return cryptAES, nil
	}
	return 0, qerr.New(syscall.EINVAL, "Parameter 'format' does not accept value '%s'", format)
}

// checkSecret makes sure that the new image could be opened.
func checkSecret(a formats.CreateArgs) error {
	if format, _ := a.Options.Raw("encrypt.format"); format == "luks" {
		return qerr.New(syscall.EINVAL, "Unsupported encryption format")
	}
	id, ok := a.Options.Raw("encrypt.key-secret")
	if !ok {
		return crypt.KeyRequired("encrypt.")
	}
	_, err := a.Env.Secret(id)
	return err
}

// create lays out header, backing file name and L1 table; the clusters of an overlay are sectors, so that none is copied.
func create(ctx context.Context, a formats.CreateArgs) error {
	method, err := encryption(a.Options)
	if err != nil {
		return err
	}
	size := a.Size &^ (sectorSize - 1)
	if size == 0 {
		return qerr.New(syscall.EINVAL, "Image size is too small, cannot be zero length")
	}
	h := &header{size: uint64(size), clusterBits: 12, l2Bits: 9, crypt: method, l1Offset: headerSize}
	h.backing = a.Options.String("backing_file", "")
	if h.backing != "" {
		h.clusterBits, h.l2Bits = 9, 12
		h.backingOffset, h.backingSize = headerSize, uint32(len(h.backing))
		h.l1Offset += uint64(len(h.backing)+7) &^ 7
	}
	span := uint64(1) << (h.clusterBits + h.l2Bits)
	// QEMU counts the entries in 32 bits. Whatever wraps is too large to be opened again, and left as QEMU leaves it.
	entries := uint64(uint32((h.size + span - 1) / span))
	if entries > math.MaxInt32 {
		return qerr.New(syscall.EINVAL, "Image too large")
	}
	if method == cryptAES {
		if err := checkSecret(a); err != nil {
			return err
		}
	}
	if err := a.File.WriteAt(ctx, append(h.encode(), h.backing...), 0, 0); err != nil {
		return err
	}
	return zeroL1(ctx, a.File, int64(h.l1Offset), int64(entries*8+sectorSize-1)&^(sectorSize-1))
}

// zeroL1 writes an empty table.
func zeroL1(ctx context.Context, f formats.File, off, n int64) error {
	if n == 0 {
		return nil
	}
	if n > 1<<20 {
		return f.WriteZeroes(ctx, off, n, 0)
	}
	return f.WriteAt(ctx, make([]byte, n), off, 0)
}
