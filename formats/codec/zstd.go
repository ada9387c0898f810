package codec

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// Limits of Zstandard frames.
const (
	zstdMagic      = 0xfd2fb528
	zstdSkipMagic  = 0x184d2a50 // and the 15 after it
	zstdSkipMask   = 0xfffffff0
	zstdMaxWindow  = 1 << 27 // what the reference decoder takes without being told to take more
	zstdWindow     = 1 << 21 // the largest cluster of qcow2
	zstdMaxCluster = 1 << 30 // a bound for what Decode is asked for

	// ZstdSlack is how much room behind its output the decoder likes to have.
	ZstdSlack = 16
)

// ZstdDecoder decodes Zstandard clusters. The zero value is ready; its tables are made by the first call.
type ZstdDecoder struct {
	d   *zstd.Decoder
	out []byte // for output that has no slack behind it
}

// Decode fills dst from the frames at the start of src and ignores what lies behind the frame that fills it, because
// the stored length of a qcow2 cluster is only an upper bound. Several frames one after the other are taken.
// A frame that would give more than dst takes is ErrTooLarge, too little is ErrTruncated.
//
// A dst whose capacity goes at least ZstdSlack bytes beyond its length is filled directly, and those bytes may be
// overwritten. With less the output is copied there: the library takes half as long again if it may not write past the
// end by some bytes.
func (z *ZstdDecoder) Decode(dst, src []byte) error {
	if err := z.warm(); err != nil {
		return err
	}
	if cap(dst)-len(dst) >= ZstdSlack {
		return z.decode(dst[:len(dst):len(dst)+ZstdSlack], src)
	}
	if cap(z.out) < len(dst)+ZstdSlack {
		z.out = make([]byte, len(dst)+ZstdSlack)
	}
	if err := z.decode(z.out[:len(dst):len(dst)+ZstdSlack], src); err != nil {
		return err
	}
	copy(dst, z.out)
	return nil
}

// decode is Decode for a dst with slack.
func (z *ZstdDecoder) decode(dst, src []byte) error {
	for out := 0; out < len(dst); {
		n, err := zstdFrameLen(src)
		if err != nil {
			return err
		}
		room := dst[out:out:cap(dst)]
		got, err := z.d.DecodeAll(src[:n], room)
		switch {
		case errors.Is(err, zstd.ErrDecoderSizeExceeded):
			return ErrTooLarge
		case errors.Is(err, zstd.ErrCRCMismatch):
			return ErrChecksum
		case err != nil:
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		case len(got) > len(dst)-out:
			return ErrTooLarge
		}
		if len(got) > 0 && &got[0] != &dst[out] {
			copy(dst[out:], got)
		}
		out += len(got)
		src = src[n:]
	}
	return nil
}

func (z *ZstdDecoder) warm() error {
	if z.d != nil {
		return nil
	}
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(zstdMaxWindow), zstd.WithDecoderMaxMemory(zstdMaxCluster),
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return err
	}
	z.d = d
	return nil
}

// zstdFrameLen returns the length of the frame at the start of src (RFC 8878, 3.1.1 and 3.1.2), found by walking over
// its block headers.
func zstdFrameLen(src []byte) (int, error) {
	if len(src) < 8 {
		return 0, ErrTruncated
	}
	magic := binary.LittleEndian.Uint32(src)
	if magic&zstdSkipMask == zstdSkipMagic {
		if n := int64(binary.LittleEndian.Uint32(src[4:])) + 8; n <= int64(len(src)) {
			return int(n), nil
		}
		return 0, ErrTruncated
	}
	if magic != zstdMagic {
		return 0, ErrCorrupt
	}
	desc := src[4]
	single := desc&0x20 != 0
	pos := 5 + [4]int{0, 1, 2, 4}[desc&3] + [4]int{0, 2, 4, 8}[desc>>6]
	if !single || desc>>6 == 0 {
		pos++ // the window descriptor, or the content size of one byte of a single segment
	}
	for {
		if pos+3 > len(src) {
			return 0, ErrTruncated
		}
		head := uint32(src[pos]) | uint32(src[pos+1])<<8 | uint32(src[pos+2])<<16
		pos += 3
		switch head >> 1 & 3 {
		case 1:
			pos++
		case 3:
			return 0, ErrCorrupt
		default:
			pos += int(head >> 3)
		}
		if head&1 != 0 {
			break
		}
	}
	if desc&4 != 0 {
		pos += 4
	}
	if pos > len(src) {
		return 0, ErrTruncated
	}
	return pos, nil
}

// ZstdEncoder writes Zstandard clusters. The zero value is ready; its tables (about 2 MiB) are made by the first call.
type ZstdEncoder struct {
	e   *zstd.Encoder
	out []byte // what does not fit into dst must not make the library allocate each time
}

// Encode compresses src into one frame with its content size and without checksum, at a ratio near that of the
// reference library's default level. It reports false if the frame would not fit in dst; dst is unchanged then.
func (z *ZstdEncoder) Encode(dst, src []byte) (n int, ok bool) {
	if z.e == nil {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithZeroFrames(true),
			zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithWindowSize(zstdWindow), zstd.WithLowerEncoderMem(true))
		if err != nil {
			return 0, false
		}
		z.e = e
	}
	if looksRandom(src, zstdWindow) && len(dst) <= len(src) {
		return 0, false
	}
	z.out = z.e.EncodeAll(src, z.out[:0])
	if len(z.out) > len(dst) {
		return 0, false
	}
	return copy(dst, z.out), true
}
