// Package lzfse decodes Apple's LZFSE streams, which dmg chunks of the "ULFO" kind hold.
//
// A stream is a row of blocks, each with a magic number of four bytes, that share one output as their dictionary:
//
//	bvx-  raw bytes
//	bvxn  LZVN: byte-oriented LZ77, see lzvn.go
//	bvx1  LZFSE with plain frequency tables
//	bvx2  LZFSE with packed frequency tables
//	bvx$  the end
//
// An LZFSE block holds its literals, and then triplets of literal length, match length and distance, both coded with
// finite state entropy (tANS) and read from the end to the start. Four coders take turns in the literals, one each
// codes the three parts of a triplet. The format is described by the headers of Apple's reference implementation.
//
// The decoder is one-shot, of bounded memory (about 60 KiB), and takes no input on trust.
package lzfse
