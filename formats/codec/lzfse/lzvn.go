package lzfse

import (
	"encoding/binary"

	"platter/formats/codec"
)

// lzvnBlock decodes a block of LZVN: magic, output length, payload length, items. An item starts with a byte of these
// forms, where L is a number of literal bytes that follow the item, M a match length and D a distance, which stays for the
// items that have none:
//
//	LLMMMDDD DDDDDDDD            M+3, with D's high bits 0-5
//	LLMMM110                     M+3, the last distance
//	LLMMM111 DDDDDDDD DDDDDDDD   M+3, D little-endian
//	101LLMMM DDDDDDMM DDDDDDDD   M+3, little-endian word: M's low bits lowest
//	1110LLLL, 11100000 LLLLLLLL  literals only: 1-15, or 16 and more
//	1111MMMM, 11110000 MMMMMMMM  match only: 1-15, or 16 and more
//	00000110                     the end, with seven bytes of padding
//	00001110, 00010110           nothing
func lzvnBlock(dst []byte, out int, src []byte) (n, used int, err error) {
	if len(src) < 12 {
		return out, 0, codec.ErrTruncated
	}
	raw := int64(binary.LittleEndian.Uint32(src[4:]))
	payload := int64(binary.LittleEndian.Uint32(src[8:]))
	if payload > int64(len(src)-12) {
		return out, 0, codec.ErrTruncated
	}
	large := raw > int64(len(dst)-out)
	if !large {
		dst = dst[:out+int(raw)]
	}
	n, err = lzvn(dst, out, src[12:12+payload])
	if err == codec.ErrTooLarge && !large {
		err = codec.ErrCorrupt // it is more than the block's header says
	}
	if err == nil && int64(n-out) != raw {
		err = codec.ErrCorrupt
	}
	return n, 12 + int(payload), err
}

// lzvnItem is one item: head bytes, then literals, then a match of the bytes dist back; dist 0 keeps the last one.
type lzvnItem struct {
	head, literals, match, dist int
}

// lzvn decodes items until the end item.
func lzvn(dst []byte, out int, src []byte) (int, error) {
	dist := 0
	for {
		// The end item is eight bytes long, so at its start any item has three bytes behind it.
		if len(src) < 8 {
			return out, codec.ErrTruncated
		}
		kind := src[0]
		switch kind {
		case 0x06:
			return out, nil
		case 0x0e, 0x16:
			src = src[1:]
			continue
		}
		it, ok := parseLZVN(src)
		if !ok {
			return out, codec.ErrCorrupt
		}
		src = src[it.head:]
		if it.literals > len(src) {
			return out, codec.ErrTruncated
		}
		if n := copy(dst[out:], src[:it.literals]); n < it.literals {
			return out + n, codec.ErrTooLarge
		}
		out += it.literals
		src = src[it.literals:]
		if it.dist != 0 {
			dist = it.dist
		}
		if it.match == 0 {
			continue
		}
		if dist == 0 || dist > out {
			return out, codec.ErrCorrupt
		}
		fits := min(it.match, len(dst)-out)
		codec.CopyMatch(dst[:out+fits], out, dist)
		out += fits
		if fits < it.match {
			return out, codec.ErrTooLarge
		}
	}
}

// parseLZVN reads the head of the item at the start of src, which has at least three bytes. A distance of 0 that is
// written out is refused.
func parseLZVN(src []byte) (it lzvnItem, ok bool) {
	kind := src[0]
	word := int(binary.LittleEndian.Uint16(src[1:]))
	switch kind >> 4 {
	case 0xf:
		if kind == 0xf0 {
			return lzvnItem{head: 2, match: int(src[1]) + 16}, true
		}
		return lzvnItem{head: 1, match: int(kind & 15)}, true
	case 0xe:
		if kind == 0xe0 {
			return lzvnItem{head: 2, literals: int(src[1]) + 16}, true
		}
		return lzvnItem{head: 1, literals: int(kind & 15)}, true
	case 0xa, 0xb:
		it = lzvnItem{head: 3, literals: int(kind >> 3 & 3), match: int(kind&7)<<2 + word&3 + 3, dist: word >> 2}
		return it, it.dist != 0
	case 0x7, 0xd:
		return it, false
	}
	it = lzvnItem{literals: int(kind >> 6), match: int(kind>>3&7) + 3}
	switch kind & 7 {
	case 6:
		it.head = 1
		return it, kind >= 0x40 // below, these are the end, the empty items and undefined ones
	case 7:
		it.head, it.dist = 3, word
	default:
		it.head, it.dist = 2, int(kind&7)<<8|int(src[1])
	}
	return it, it.dist != 0
}
