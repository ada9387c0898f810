package codec

import "errors"

// The kinds of failure of a decoder.
var (
	// ErrCorrupt says that the input is not a valid stream.
	ErrCorrupt = errors.New("corrupt compressed data")
	// ErrTruncated says that the input ends before the stream does.
	ErrTruncated = errors.New("compressed data ends early")
	// ErrTooLarge says that the stream holds more bytes than the output buffer takes. The buffer is full then, with
	// the first bytes of the stream.
	ErrTooLarge = errors.New("compressed data is larger than expected")
	// ErrChecksum says that the data decoded, but does not match the checksum stored with it.
	ErrChecksum = errors.New("checksum mismatch in compressed data")
)
