package luks

import (
	"context"
	"errors"
	"math"
	"slices"
	"syscall"

	"platter/formats"
	"platter/formats/crypt"
	"platter/formats/crypt/luks1"
	"platter/formats/crypt/secret"
	"platter/formats/option"
	"platter/formats/qerr"
)

// choices are the values that QEMU's schema knows; those that nobody implements are refused later, by name.
var choices = []struct {
	option string
	values []string
}{
	{"cipher-alg", []string{"aes-128", "aes-192", "aes-256", "des", "3des", "cast5-128", "serpent-128", "serpent-192",
		"serpent-256", "twofish-128", "twofish-192", "twofish-256", "sm4"}},
	{"cipher-mode", []string{"ecb", "cbc", "xts", "ctr"}},
	{"ivgen-alg", []string{"plain", "plain64", "essiv"}},
	{"ivgen-hash-alg", hashes},
	{"hash-alg", hashes},
}

var hashes = []string{"md5", "sha1", "sha224", "sha256", "sha384", "sha512", "ripemd160", "sm3"}

func notAccepted(name, value string) error {
	return qerr.New(syscall.EINVAL, "Parameter '%s' does not accept value '%s'", name, value)
}

// headerOptions reads what -o says about the header.
func headerOptions(v *option.Values, env *formats.Env) (luks1.CreateOptions, error) {
	for _, c := range choices {
		if s, ok := v.Raw(c.option); ok && !slices.Contains(c.values, s) {
			return luks1.CreateOptions{}, notAccepted(c.option, s)
		}
	}
	o := luks1.CreateOptions{
		Cipher:   crypt.Cipher(v.String("cipher-alg", "")),
		Mode:     crypt.Mode(v.String("cipher-mode", "")),
		IVGen:    crypt.IVGen(v.String("ivgen-alg", "")),
		IVHash:   crypt.Hash(v.String("ivgen-hash-alg", "")),
		Hash:     crypt.Hash(v.String("hash-alg", "")),
		Detached: v.Bool("detached-header", false),
		IterTime: iterTime(v),
	}
	if id, ok := v.Raw("key-secret"); ok {
		o.Passphrase = secret.Passphrase(env.Secret, id)
	}
	return o, nil
}

func iterTime(v *option.Values) *uint64 {
	if !v.Has("iter-time") {
		return nil
	}
	n := v.Uint("iter-time", 0)
	return &n
}

// prealloc reads the preallocation mode. Metadata is all there at once, so that mode asks for nothing.
func prealloc(v *option.Values) (formats.Prealloc, error) {
	name := v.String("preallocation", "off")
	pre, ok := formats.ParsePrealloc(name)
	if !ok {
		return 0, qerr.New(syscall.EINVAL, "invalid parameter value: %s", name)
	}
	if pre == formats.PreallocMetadata {
		pre = formats.PreallocOff
	}
	return pre, nil
}

// create sets the file's length, then writes the header and the first key slot. The payload is not written.
func create(ctx context.Context, a formats.CreateArgs) error {
	pre, err := prealloc(a.Options)
	if err != nil {
		return err
	}
	o, err := headerOptions(a.Options, a.Env)
	if err != nil {
		return err
	}
	size := payloadSize(a, o.Detached)
	room := func(header int64) error {
		if size > uint64(math.MaxInt64-header) {
			return tooLarge
		}
		err := a.File.Truncate(ctx, int64(size)+header, pre)
		if errors.Is(err, syscall.EFBIG) {
			return tooLarge
		}
		return err
	}
	write := func(off int64, p []byte) error {
		return headerFailed(a.File.WriteAt(ctx, p, off, 0), "write")
	}
	_, err = luks1.Create(ctx, room, write, o)
	return err
}

// payloadSize is the size as it was given: QEMU's driver, other than most, does not round it to sectors.
func payloadSize(a formats.CreateArgs, detached bool) uint64 {
	switch {
	case detached:
		return 0
	case a.Options.Has("size"):
		return a.Options.Uint("size", 0)
	}
	return uint64(a.Size)
}

// tooLarge is not EFBIG: the verbs have a message of their own for that, which stock does not give here.
var tooLarge = qerr.New(syscall.EIO, "The requested file size is too large")

// measure adds the header's length; every sector is stored, so the source's holes do not count.
func measure(_ context.Context, a formats.MeasureArgs) (formats.Measurement, error) {
	o, err := headerOptions(a.Options, a.Env)
	if err != nil {
		return formats.Measurement{}, err
	}
	size := a.Size
	if a.Source != nil {
		size = a.Source.Size()
	}
	header, err := luks1.Layout(o)
	if err != nil {
		return formats.Measurement{}, err
	}
	if o.Detached {
		size = 0
	}
	if size > math.MaxInt64-header {
		return formats.Measurement{}, tooLarge
	}
	return formats.Measurement{Required: size + header, FullyAllocated: size + header, Bitmaps: -1}, nil
}
