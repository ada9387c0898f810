package codec

import (
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
)

// bzip2Trailer is what the library says when bytes that are no stream follow a whole one.
const bzip2Trailer = bzip2.StructuralError("bad magic value in continuation file")

// Bunzip2 decodes the bzip2 stream at the start of src into dst and returns how many bytes it gave. More than len(dst)
// bytes are ErrTooLarge; what follows a stream that fills dst is ignored unless it is another stream. A call allocates up
// to 4 MiB, as the block size of the stream demands.
func Bunzip2(dst, src []byte) (int, error) {
	n, err := readAll(dst, bzip2.NewReader(bytes.NewReader(src)))
	if n == len(dst) && errors.Is(err, bzip2Trailer) {
		err = nil
	}
	return n, err
}

// readAll fills dst from a decompressor and demands that it ends there, or earlier.
func readAll(dst []byte, r io.Reader) (n int, err error) {
	for n < len(dst) && err == nil {
		var k int
		k, err = r.Read(dst[n:])
		n += k
	}
	if err == nil {
		var k int
		if k, err = io.ReadFull(r, make([]byte, 1)); k > 0 {
			return n, ErrTooLarge
		}
	}
	switch {
	case err == io.EOF:
		return n, nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		return n, ErrTruncated
	}
	return n, fmt.Errorf("%w: %w", ErrCorrupt, err)
}
