package secret

import (
	"bytes"
	"io"
	"os"
	"syscall"
	"unicode/utf8"

	"platter/formats/crypt"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// MaxSize limits the file of a secret, in bytes: a wrong name must not fill the memory.
const MaxSize = 16 << 20

// Lookup gives the bytes of a secret that is there already.
type Lookup func(id string) ([]byte, error)

func invalid(format string, a ...any) error { return qerr.New(syscall.EINVAL, format, a...) }

// Load gives the bytes of the secret with these properties: data or file, or serial for a secret_keyring; format, raw
// or base64; keyid and iv, if it is encrypted with the secret keyid, AES-256-CBC.
func Load(d *qobj.Dict, lookup Lookup) ([]byte, error) {
	load := inline
	if kind, _ := d.String("qom-type"); kind == "secret_keyring" {
		load = keyring
	}
	p, err := load(d)
	if err != nil {
		return nil, err
	}
	format, _ := d.String("format")
	if keyID, ok := d.String("keyid"); ok {
		return decrypt(d, keyID, p, format == "base64", lookup)
	}
	if format == "base64" {
		return decode(p)
	}
	return p, nil
}

// inline gives what a secret has in data or file.
func inline(d *qobj.Dict) ([]byte, error) {
	data, hasData := d.String("data")
	file, hasFile := d.String("file")
	switch {
	case hasFile && hasData:
		return nil, invalid("'file' and 'data' are mutually exclusive")
	case hasFile:
		return readFile(file)
	case hasData:
		return []byte(data), nil
	}
	return nil, invalid("Either 'file' or 'data' must be provided")
}

// readFile reads any kind of file: shells give a pipe for <(command).
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, qerr.Errno(qerr.Of(err), "Unable to read %s: Failed to open file “%s”", name, name)
	}
	defer f.Close()
	p, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, qerr.Errno(qerr.Of(err), "Unable to read %s: Error reading file “%s”", name, name)
	}
	if len(p) > MaxSize {
		return nil, qerr.New(syscall.EFBIG, "Unable to read %s: File “%s” is too large", name, name)
	}
	return p, nil
}

// Text gives a secret that is used as a password: UTF-8 without NUL.
func Text(lookup Lookup, id string) ([]byte, error) {
	p, err := lookup(id)
	if err != nil {
		return nil, err
	}
	if bytes.IndexByte(p, 0) >= 0 || !utf8.Valid(p) {
		return nil, invalid("Data from secret %s is not valid UTF-8", id)
	}
	return p, nil
}

// Passphrase is Text when it is asked.
func Passphrase(lookup Lookup, id string) crypt.Passphrase {
	return func() ([]byte, error) { return Text(lookup, id) }
}
