// Package cloop reads compressed loop images, version 2.0.
//
//	0x00  "#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n"
//	0x80  block size and number of blocks, 32-bit big-endian
//	0x88  offsets of the blocks and of the end of the last, 64-bit big-endian
//	...   blocks, each a zlib stream of one block
//
// The limits are those that qemu-img 10.0.2 keeps (qemu/qemu block/cloop.c is the compact description). Version 1.0
// and the later ones with their index at the end are not supported, as in QEMU. Blocks are decompressed once and kept
// in a bounded cache.
package cloop
