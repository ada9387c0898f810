package corpus

import (
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/ulikunitz/xz"
)

// place puts every file of an image into dir, decompressed, under the name that the corpus gives it.
func place(corpus, dir string, img image) error {
	for _, m := range img.Files {
		name := m.Name
		if m.Unpack != "" {
			name = m.UnpackedName
		}
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := unpack(filepath.Join(corpus, m.Name), m.Unpack, to); err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
	}
	return nil
}

func unpack(from, how, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	var r io.Reader = in
	switch how {
	case "":
	case "gzip":
		r, err = gzip.NewReader(in)
	case "bzip2":
		r = bzip2.NewReader(in)
	case "xz":
		r, err = xz.NewReader(in)
	default:
		err = fmt.Errorf("unknown compression %q", how)
	}
	if err != nil {
		return err
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	return errors.Join(copySparse(out, r), out.Close())
}

// copySparse leaves holes where there are zeroes: some images are many gigabytes of them.
func copySparse(out *os.File, in io.Reader) error {
	buf, zero := make([]byte, 64<<10), make([]byte, 64<<10)
	for off := int64(0); ; {
		n, err := io.ReadFull(in, buf)
		if n > 0 && !bytes.Equal(buf[:n], zero[:n]) {
			if _, err := out.WriteAt(buf[:n], off); err != nil {
				return err
			}
		}
		off += int64(n)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return out.Truncate(off)
		} else if err != nil {
			return err
		}
	}
}

const (
	seekData = 3 // SEEK_DATA of lseek(2)
	block    = 64 << 10
)

// sparseSum is the sum that the manifest calls sparse_sha256: over the index and the bytes of each block that is not
// all zeroes, and the size of the file at the end.
func sparseSum(path string) (string, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return "", 0, err
	}
	h := sha256.New()
	buf, zero := make([]byte, block), make([]byte, block)
	for off := int64(0); off < fi.Size(); {
		next, err := f.Seek(off, seekData)
		if err != nil {
			break // ENXIO: a hole up to the end
		}
		off = max(off, next/block*block)
		n, err := f.ReadAt(buf[:min(block, fi.Size()-off)], off)
		if err != nil && err != io.EOF {
			return "", 0, err
		}
		if !bytes.Equal(buf[:n], zero[:n]) {
			h.Write(little(off / block))
			h.Write(buf[:n])
		}
		off += int64(n)
	}
	h.Write(little(fi.Size()))
	return hex.EncodeToString(h.Sum(nil)), fi.Size(), nil
}

func little(n int64) []byte {
	b := make([]byte, 8)
	for i := range b {
		b[i] = byte(n >> (8 * i))
	}
	return b
}
