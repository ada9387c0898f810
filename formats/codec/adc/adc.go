package adc

import "platter/formats/codec"

// Decode decodes src into dst and returns how many bytes it gave. It ends with the input. If dst is full before that, it
// is codec.ErrTooLarge; an item cut off by the end of src is codec.ErrTruncated, a distance before the start of dst
// codec.ErrCorrupt.
func Decode(dst, src []byte) (int, error) {
	out := 0
	for len(src) > 0 {
		kind := src[0]
		var length, dist, head int
		switch {
		case kind >= 0x80:
			head, length = 1, int(kind&0x7f)+1
		case kind >= 0x40:
			head, length = 3, int(kind&0x3f)+4
		default:
			head, length = 2, int(kind>>2)+3
		}
		if len(src) < head {
			return out, codec.ErrTruncated
		}
		fits := min(length, len(dst)-out)
		if head == 1 {
			fits = copy(dst[out:out+fits], src[1:])
			if fits < length && fits == len(src)-1 {
				return out + fits, codec.ErrTruncated
			}
			head += fits
		} else {
			dist = int(src[1]) | int(kind&3)<<8
			if head == 3 {
				dist = int(src[1])<<8 | int(src[2])
			}
			dist++
			if dist > out {
				return out, codec.ErrCorrupt
			}
			codec.CopyMatch(dst[:out+fits], out, dist)
		}
		out += fits
		if fits < length {
			return out, codec.ErrTooLarge
		}
		src = src[head:]
	}
	return out, nil
}
