package lzfse

import (
	"encoding/binary"

	"platter/formats/codec"
)

// The magic numbers of the blocks, little-endian.
const (
	magicRaw  = 0x2d787662
	magicLZVN = 0x6e787662
	magicV1   = 0x31787662
	magicV2   = 0x32787662
	magicEnd  = 0x24787662
)

// Decoder decodes LZFSE streams. The zero value is ready; it is reused from call to call without allocating, and not
// safe for concurrent use.
type Decoder struct {
	budget  int // literals and matches that may still come
	head    header
	literal [literalStates]symbolEntry
	l       [lengthStates]valueEntry
	m       [lengthStates]valueEntry
	d       [distStates]valueEntry
	bytes   [maxLiterals]byte
}

// Decode decodes the stream at the start of src into dst and returns how many bytes it gave. What follows the end mark
// is ignored. More than len(dst) bytes are codec.ErrTooLarge, a stream without end mark is codec.ErrTruncated, all else
// that is wrong codec.ErrCorrupt.
func (z *Decoder) Decode(dst, src []byte) (n int, err error) {
	z.budget = 2*len(dst) + 1<<16
	for {
		if len(src) < 4 {
			return n, codec.ErrTruncated
		}
		var used int
		switch binary.LittleEndian.Uint32(src) {
		case magicEnd:
			return n, nil
		case magicRaw:
			n, used, err = rawBlock(dst, n, src)
		case magicLZVN:
			n, used, err = lzvnBlock(dst, n, src)
		case magicV1:
			if used, err = z.head.readV1(src); err == nil {
				n, used, err = z.block(dst, n, src, used)
			}
		case magicV2:
			if used, err = z.head.readV2(src); err == nil {
				n, used, err = z.block(dst, n, src, used)
			}
		default:
			return n, codec.ErrCorrupt
		}
		if err != nil {
			return n, err
		}
		src = src[used:]
	}
}

// rawBlock copies a block: magic, length, bytes.
func rawBlock(dst []byte, out int, src []byte) (n, used int, err error) {
	if len(src) < 8 {
		return out, 0, codec.ErrTruncated
	}
	size := int64(binary.LittleEndian.Uint32(src[4:]))
	body := src[8:min(8+size, int64(len(src)))]
	fits := copy(dst[out:], body)
	switch {
	case int64(fits) == size:
		return out + fits, 8 + fits, nil
	case fits < len(body):
		return out + fits, 0, codec.ErrTooLarge
	}
	return out + fits, 0, codec.ErrTruncated
}
