package codec

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"hash/crc64"
	"sync"

	"github.com/ulikunitz/xz/lzma"
)

// Facts of the .xz file format, version 1.2: sections 2.1.1 (header), 3.1 (block header), 5.3.1 (LZMA2).
const (
	xzMagic       = "\xfd7zXZ\x00"
	xzHeaderLen   = 12
	xzFilterLZMA2 = 0x21
	xzMaxDictBits = 40
)

// xzCheckLens has the length of the check for each of its kinds.
var xzCheckLens = [16]int{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}

var crc64Table = sync.OnceValue(func() *crc64.Table { return crc64.MakeTable(crc64.ECMA) })

// Unxz decodes the blocks of the xz stream at the start of src into dst and returns how many bytes they gave. More than
// len(dst) bytes are ErrTooLarge. Only the LZMA2 filter is known, as dmg uses no other. The blocks' CRC-32, CRC-64 or
// SHA-256 is checked; the index behind them is not looked into.
//
// The container is read here and only the LZMA2 data by the library, because that takes the size of its dictionary from
// the stream, which may say 4 GiB; here it never exceeds dst.
func Unxz(dst, src []byte) (n int, err error) {
	if len(src) < xzHeaderLen {
		return 0, ErrTruncated
	}
	if string(src[:6]) != xzMagic || src[6] != 0 || src[7] > 15 ||
		crc32.ChecksumIEEE(src[6:8]) != binary.LittleEndian.Uint32(src[8:]) {
		return 0, ErrCorrupt
	}
	check := src[7]
	src = src[xzHeaderLen:]
	for {
		if len(src) == 0 {
			return n, ErrTruncated
		}
		if src[0] == 0 {
			return n, nil // the index
		}
		k, used, err := xzBlock(dst[n:], src, check)
		n += k
		if err != nil {
			return n, err
		}
		src = src[used:]
	}
}

// xzBlock decodes one block and returns how many bytes it gave and how many it takes.
func xzBlock(dst, src []byte, check byte) (n, used int, err error) {
	head := (int(src[0]) + 1) * 4
	if len(src) < head+1 {
		return 0, 0, ErrTruncated
	}
	dict, err := xzDictionary(src[:head])
	if err != nil {
		return 0, 0, err
	}
	in := bytes.NewReader(src[head:])
	config := lzma.Reader2Config{DictCap: int(min(dict, int64(max(len(dst), lzma.MinDictCap))))}
	r, err := config.NewReader2(in)
	if err != nil {
		return 0, 0, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if n, err = readAll(dst, r); err != nil {
		return n, 0, err
	}
	size := len(src) - head - in.Len()
	sum := head + (size+3)&^3
	used = sum + xzCheckLens[check]
	if used > len(src) {
		return n, 0, ErrTruncated
	}
	if !xzCheck(check, dst[:n], src[sum:used]) {
		return n, used, ErrChecksum
	}
	return n, used, nil
}

// xzDictionary checks a block header and returns the size of the dictionary that it asks for.
func xzDictionary(head []byte) (int64, error) {
	body := head[:len(head)-4]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(head[len(body):]) {
		return 0, ErrCorrupt
	}
	flags := body[1]
	if flags&0x3f != 0 {
		return 0, fmt.Errorf("%w: more than one xz filter", ErrCorrupt)
	}
	rest := body[2:]
	for _, bit := range []byte{0x40, 0x80} { // compressed and uncompressed size, which the data shows anyway
		if flags&bit != 0 {
			_, k := binary.Uvarint(rest)
			if k <= 0 {
				return 0, ErrCorrupt
			}
			rest = rest[k:]
		}
	}
	if len(rest) < 3 || rest[0] != xzFilterLZMA2 || rest[1] != 1 || rest[2] > xzMaxDictBits {
		return 0, fmt.Errorf("%w: unknown xz filter", ErrCorrupt)
	}
	return int64(2|rest[2]&1) << (rest[2]/2 + 11), nil
}

// xzCheck compares the stored check with that of the data; kinds that nobody writes count as right.
func xzCheck(kind byte, data, want []byte) bool {
	switch kind {
	case 1:
		return crc32.ChecksumIEEE(data) == binary.LittleEndian.Uint32(want)
	case 4:
		return crc64.Checksum(data, crc64Table()) == binary.LittleEndian.Uint64(want)
	case 10:
		sum := sha256.Sum256(data)
		return bytes.Equal(sum[:], want)
	}
	return true
}
