package codec

import (
	"encoding/binary"
	"hash/adler32"
	"math/bits"
)

// Windows for NewDeflater, in bytes.
const (
	Window4K  = 1 << 12 // qcow and qcow2: their readers keep 4 KiB
	Window32K = 1 << 15 // the largest of the format
)

// Deflater writes deflate streams. It is reused from call to call without allocating. The same input always gives the
// same output. The effort is fixed, at sizes 2 to 3 % above those of zlib's level 6. It holds some 300 KiB, with a
// window above 4 KiB 600 KiB.
type Deflater struct {
	window     int
	match      matcher
	tokens     [maxTokens]uint32
	now        frequencies // of the block that is being collected
	chunk      frequencies // of the tokens behind it
	lit        prefixCode
	dist       prefixCode
	packed     [1024]uint32 // see packCodes
	packedDist [32]uint32
	pre        preamble
	out        bitWriter
}

// NewDeflater returns a compressor whose matches reach back at most window bytes, a power of two from 256 to 32768
// (it panics otherwise: the window is the format's, not the image's).
func NewDeflater(window int) *Deflater {
	if window < 1<<8 || window > Window32K || bits.OnesCount(uint(window)) != 1 {
		panic("codec: deflate window is not a power of two from 256 to 32768")
	}
	makeTables()
	d := &Deflater{window: window}
	d.match.setWindow(window)
	return d
}

// Raw compresses src into one raw deflate stream (RFC 1951) in dst. It reports false if the stream would not fit in
// dst; bytes of dst may have been overwritten then. Input that would hardly become smaller (2 % at most) is noticed from
// samples, before it is compressed, if dst is not larger than src.
func (d *Deflater) Raw(dst, src []byte) (n int, ok bool) {
	if len(dst) <= len(src) && looksRandom(src, d.window) {
		return 0, false
	}
	d.out = bitWriter{dst: dst}
	if !d.compress(src) {
		return 0, false
	}
	return d.out.finish(), true
}

// Zlib compresses src into one zlib stream (RFC 1950) in dst, like Raw.
func (d *Deflater) Zlib(dst, src []byte) (n int, ok bool) {
	if len(dst) < 6 {
		return 0, false
	}
	n, ok = d.Raw(dst[2:len(dst)-4], src)
	if !ok {
		return 0, false
	}
	head := uint16(8|(bits.Len(uint(d.window))-9)<<4)<<8 | 2<<6
	head += 31 - head%31
	binary.BigEndian.PutUint16(dst, head)
	binary.BigEndian.PutUint32(dst[2+n:], adler32.Checksum(src))
	return n + 6, true
}

// compress cuts the tokens of src into blocks. A block ends where the chunk of tokens behind it is so different that
// codes of its own pay for themselves.
func (d *Deflater) compress(src []byte) bool {
	d.match.reset(len(src))
	start, pos, have := 0, 0, 0 // the block's first byte, the end of what is tokenized, the block's tokens
	split := 0                  // the byte at which the chunk begins
	d.now.clear()
	for {
		d.chunk.clear()
		var count int
		split = pos
		pos, count = d.match.tokenize(src, pos, d.tokens[have:min(have+chunkTokens, maxTokens)], &d.chunk)
		if have > 0 && (have+count > maxTokens-chunkTokens || d.now.separate(&d.chunk)) {
			if !d.block(src[start:split], d.tokens[:have], false) {
				return false
			}
			copy(d.tokens[:count], d.tokens[have:have+count])
			start, have = split, 0
			d.now.clear()
		}
		d.now.add(&d.chunk)
		have += count
		if pos == len(src) {
			return d.block(src[start:], d.tokens[:have], true)
		}
	}
}
