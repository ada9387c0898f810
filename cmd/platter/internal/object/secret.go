package object

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"platter/formats/qerr"
)

// loadSecret finds the bytes of a secret: from the command line, a file or the kernel's keyring, decrypted with another
// secret if keyid names one.
func (s *Set) loadSecret(d *definition) ([]byte, error) {
	input, err := secretInput(d)
	if err != nil {
		return nil, err
	}
	format, _ := d.text("format", false)
	if d.Has("keyid") {
		return s.decrypt(d, input, format == "base64")
	}
	if format == "base64" {
		return base64Decode(string(input))
	}
	return input, nil
}

func secretInput(d *definition) ([]byte, error) {
	if d.typ.name == "secret_keyring" {
		return keyringInput(d)
	}
	file, _ := d.text("file", false)
	data, _ := d.text("data", false)
	switch {
	case d.Has("file") && d.Has("data"):
		return nil, invalid("'file' and 'data' are mutually exclusive")
	case d.Has("data"):
		return []byte(data), nil
	case !d.Has("file"):
		return nil, invalid("Either 'file' or 'data' must be provided")
	}
	input, err := os.ReadFile(file)
	var path *fs.PathError
	if errors.As(err, &path) && path.Op == "open" {
		return nil, qerr.New(qerr.Of(err), "Unable to read %s: Failed to open file “%s”: %s", file, file, qerr.Text(err))
	}
	if err != nil {
		return nil, qerr.New(qerr.Of(err), "Unable to read %s: Error reading file “%s”: %s", file, file, qerr.Text(err))
	}
	return input, nil
}

func keyringInput(d *definition) ([]byte, error) {
	serial, _ := d.integer("serial")
	n, err := unix.KeyctlBuffer(unix.KEYCTL_READ, int(int32(serial)), nil, 0)
	buf := make([]byte, max(n, 0))
	if err == nil && n > 0 {
		n, err = unix.KeyctlBuffer(unix.KEYCTL_READ, int(int32(serial)), buf, 0)
	}
	if err != nil {
		return nil, qerr.New(qerr.Of(err), "Unable to read serial key %08x: %s", uint32(serial), qerr.Text(err))
	}
	return buf[:min(n, len(buf))], nil
}

// decrypt undoes AES-256 in CBC mode with PKCS#7 padding. The key is the secret that keyid names, the IV base64.
func (s *Set) decrypt(d *definition, input []byte, encoded bool) ([]byte, error) {
	keyid, _ := d.text("keyid", false)
	key, err := s.Secret(keyid)
	switch {
	case err != nil:
		return nil, err
	case len(key) != 32:
		return nil, invalid("Key should be 32 bytes in length")
	case !d.Has("iv"):
		return nil, invalid("IV is required to decrypt secret")
	}
	text, _ := d.text("iv", false)
	iv, err := base64Decode(text)
	if err == nil && len(iv) != aes.BlockSize {
		err = invalid("IV should be %d bytes in length not %d", aes.BlockSize, len(iv))
	}
	if err == nil && encoded {
		input, err = base64Decode(string(input))
	}
	if err == nil && (len(input)%aes.BlockSize != 0 || len(input) == 0) {
		err = invalid("Length %d must be a multiple of block size %d", len(input), aes.BlockSize)
	}
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, len(input))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, input)
	padding := int(plain[len(plain)-1])
	if padding > aes.BlockSize {
		return nil, invalid("Incorrect number of padding bytes (%d) found on decrypted data", padding)
	}
	return plain[:len(plain)-padding], nil
}

const base64Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// base64Decode decodes as GLib does: it minds neither where padding stands nor an incomplete group at the end.
func base64Decode(text string) ([]byte, error) {
	var out []byte
	value, count, last := 0, 0, [2]byte{}
	for i := range len(text) {
		c := text[i]
		if c == '\n' {
			continue
		}
		rank := strings.IndexByte(base64Alphabet, c)
		if rank < 0 && c != '=' {
			return nil, invalid("Base64 data contains invalid characters")
		}
		last[1], last[0] = last[0], c
		value, count = value<<6|max(rank, 0), count+1
		if count < 4 {
			continue
		}
		out = append(out, byte(value>>16))
		if last[1] != '=' {
			out = append(out, byte(value>>8))
		}
		if last[0] != '=' {
			out = append(out, byte(value))
		}
		value, count = 0, 0
	}
	return out, nil
}
