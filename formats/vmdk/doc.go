// Package vmdk is VMware's Virtual Machine Disk.
//
// A disk is described by a text, the descriptor, which stands in a file of its own or inside the only sparse file. It
// has a content ID (CID), that of the parent disk, a createType, and a list of extents, which follow one another:
//
//	flat          bytes as they are, in a file of any name, from an offset on (FLAT, VMFS)
//	sparse "KDMV" header, grain directory, grain tables of 512 entries, grains (SPARSE); entries are 32-bit sectors
//	compressed    the same with zlib streams as grains, each behind a marker (streamOptimized); the header may be
//	              replaced by a footer at the end of the file
//	sparse "COWD" the sparse file of ESX, with tables of 4096 entries (VMFSSPARSE)
//	seSparse      64-bit entries, read only (SESPARSE)
//
// A missing grain is the parent's at the same offset of the disk, or zeroes. An entry of 1 is a grain of zeroes where
// the header's flag allows it. Specification: VMware, Virtual Disk Format 5.0; COWD and seSparse are not documented, what
// is valid is what qemu-img 10.0.2 accepts.
//
// # Order of writes
//
// The content ID goes to disk before the first write after an image is opened: a child must notice that its parent is
// not what it was. A new grain is written whole, with what the backing file has around the new data, before anything
// names it. A flush makes the grains durable, then writes the tables (and their redundant copies), and directory
// entries of new tables after these are durable. A crash leaves unnamed grains at most, or tables that are newer than
// their copies.
//
// # Locks
//
// mu guards tables and allocation; no data is moved under it. A grain that is being allocated is in pending; who wants
// to write there waits. flushing makes flushes take turns.
//
// # Not supported
//
// Extents of kind ZERO, RDM and devices, encryption, change tracking files, the journal of a seSparse extent, resize,
// repair. A compressed image that ends in a footer is not written to. The header of a COWD extent names a first free
// sector, which writing leaves as it is, as QEMU does.
package vmdk
