// Package adc decodes Apple Data Compression, the method of the oldest compressed dmg chunks.
//
// It is a byte-oriented LZ77 with a window of 64 KiB. Each item starts with a byte that tells its kind:
//
//	1nnnnnnn                    n+1 bytes follow as they are
//	00nnnndd dddddddd           n+3 bytes from d+1 bytes back
//	01nnnnnn dddddddd dddddddd  n+4 bytes from d+1 bytes back
//
// There is neither a header nor an end mark nor a checksum: the stream ends where its input ends.
package adc
