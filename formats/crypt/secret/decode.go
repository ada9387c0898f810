package secret

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"strings"

	"platter/formats/qobj"
)

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// decode reads base64 as glib does, which is more lenient than RFC 4648: four characters give three bytes less one for
// each "=" among their last two, wherever they stand; a rest of fewer than four gives nothing.
func decode(p []byte) ([]byte, error) {
	var out []byte
	var group []byte
	if bytes.IndexByte(p, 0) >= 0 {
		return nil, invalid("Base64 data contains embedded NUL characters")
	}
	for _, c := range p {
		switch {
		case c == '\n':
			continue
		case c != '=' && strings.IndexByte(alphabet, c) < 0:
			return nil, invalid("Base64 data contains invalid characters")
		}
		if group = append(group, c); len(group) == 4 {
			out = appendGroup(out, group)
			group = group[:0]
		}
	}
	return out, nil
}

func appendGroup(out, group []byte) []byte {
	v := 0
	for _, c := range group {
		v = v<<6 | max(strings.IndexByte(alphabet, c), 0)
	}
	out = append(out, byte(v>>16))
	if group[2] != '=' {
		out = append(out, byte(v>>8))
	}
	if group[3] != '=' {
		out = append(out, byte(v))
	}
	return out
}

// decrypt undoes AES-256-CBC with the padding of PKCS #7.
func decrypt(d *qobj.Dict, keyID string, p []byte, base64 bool, lookup Lookup) ([]byte, error) {
	key, err := lookup(keyID)
	if err != nil {
		return nil, err
	}
	if len(key) != 32 {
		return nil, invalid("Key should be 32 bytes in length")
	}
	text, ok := d.String("iv")
	if !ok {
		return nil, invalid("IV is required to decrypt secret")
	}
	iv, err := decode([]byte(text))
	if err != nil {
		return nil, err
	}
	if len(iv) != aes.BlockSize {
		return nil, invalid("IV should be 16 bytes in length not %d", len(iv))
	}
	if base64 {
		if p, err = decode(p); err != nil {
			return nil, err
		}
	}
	if len(p)%aes.BlockSize != 0 {
		return nil, invalid("Length %d must be a multiple of block size %d", len(p), aes.BlockSize)
	}
	if len(p) == 0 {
		return nil, nil
	}
	c, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	out := make([]byte, len(p))
	cipher.NewCBCDecrypter(c, iv).CryptBlocks(out, p)
	pad := int(out[len(out)-1])
	if pad > aes.BlockSize {
		return nil, invalid("Incorrect number of padding bytes (%d) found on decrypted data", pad)
	}
	return out[:len(out)-pad], nil
}
