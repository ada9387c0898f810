// Package vpc is the Virtual Hard Disk format (VHD) of Virtual PC and Hyper-V: fixed, dynamic and differencing images.
//
//	fixed:    disk's bytes | footer
//	dynamic:  footer's copy | dynamic header | block allocation table | blocks … | footer
//	a block:  sector bitmap in whole sectors, highest bit first | data, 2 MiB as a rule
//
// All numbers are big-endian. A table entry is the sector at which a block begins, 0xffffffff if there is none. The
// layout is that of libyal/libvhdi's "Virtual Hard Disk (VHD) image format"; what is valid, and how the disk's size is
// derived from geometry or footer, is what qemu-img 10.0.2 does.
//
// In a dynamic image a block is whole: its bitmap is written as all ones and never read. In a differencing image the
// bitmap tells, sector by sector, what is in the image and what in the parent. QEMU does not know differencing images
// and shows zeroes in place of the parent's content; here the parent is found by the relative path that the image
// keeps, and its identifier must be the one that the image names.
//
// # Order of writes
//
// A new block goes to the end of the file, over the old footer, and is zeroed where the file was not new there. A flush
// writes the footer behind the last block and forces all that to storage before the table names the blocks; until then
// the footer's copy at the beginning keeps the image readable. Bits of a bitmap that is in the file are changed in memory
// and written by a flush, after the data they stand for is durable. Since no block is ever moved or given up, a crash can
// only waste the space of blocks that the table does not name, and opening the image finds that space free again.
//
// libvhdi takes all sectors of a bitmap's byte for the image's own that follow the first one. So that it reads what is
// written here, a write into a differencing image goes on to the end of its last byte, with what the parent has there.
//
// # Locks
//
// shared, then mu. mu guards the table, the bitmaps, the end of the blocks and what is being allocated; no data is moved
// under it. shared keeps writes apart that meet in a byte of a bitmap.
//
// # Not supported
//
// Resize. QEMU can neither check VHDs nor create differencing images; here both are offered to programs that do not
// expect qemu-img (formats.Env.Beyond).
package vpc
