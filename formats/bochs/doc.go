// Package bochs reads the growing disk images of Bochs ("redolog" files).
//
//	0x000  header: 32 bytes magic, 16 type "Redolog", 16 subtype "Growing", version, header size, entries of the
//	       catalog, bytes of an extent's bitmap, bytes of an extent, disk size (version 1 has it 4 bytes earlier)
//	header size        catalog: one 32-bit little-endian extent number an extent, 0xffffffff not allocated
//	behind it          extents: a bitmap (least bit first, one bit a sector) in whole sectors, then the sectors
//
// A sector whose bit is clear, or whose extent is not allocated, reads as zeroes. The layout and its limits are those
// that qemu-img 10.0.2 accepts (qemu/qemu block/bochs.c is the only compact description).
//
// Writing is not supported, as in QEMU; nor are the undoable and volatile kinds, which need their base image.
package bochs
