// Package vdi is VirtualBox's Virtual Disk Image, version 1.1, dynamic and static.
//
//	0x000  preamble: 64 bytes of text, signature, version
//	0x048  header: type, offsets of map and data, disk and block size, number of blocks, allocated blocks, four UUIDs
//	map    one 32-bit little-endian entry a block: the block's number in the data area;
//	       0xffffffff not allocated, 0xfffffffe allocated once and given up (read as zeroes)
//	data   blocks of 1 MiB in the order of their allocation
//
// There is no official specification; the layout is that of kaitai-io/kaitai_struct_formats filesystem/vdi.ksy, and
// what is valid is what qemu-img 10.0.2 accepts.
//
// A differencing image (of type 4) has the identifier of its parent, to which a block belongs that is not allocated. QEMU
// refuses such images; here the parent is looked for by its identifier, in the folder of the image and the one above.
//
// # Invariants
//
// No two map entries name the same data block, and the header's number of allocated blocks is greater than every
// entry: the next block to be allocated. It does not exceed the number of the disk's blocks; gaps are used then.
//
// # Order of writes
//
// The format has no journal, and the header and a page of the map cannot change together. A new block is written whole
// before anything names it. At a flush the header's counter goes to disk before the map: a crash between the two loses
// a block of space and makes qemu-img check count a mismatch, but no block is ever handed out twice. Opening for
// writing mends the counter.
//
// # Locks
//
// mu guards the map, the counter and the in-flight allocations; no data is moved under it. A block being allocated is
// in pending; who else wants it waits.
//
// # Not supported
//
// Making differencing images, block sizes other than 1 MiB, version 0, resize. Discard is not passed on: the data area has
// no free list.
package vdi
