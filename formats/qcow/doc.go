// Package qcow is QEMU's first copy-on-write format, version 1.
//
//	0x00  header: magic "QFI\xfb", version 1, backing file name (offset, length), mtime, size in bytes, cluster and
//	      L2 bits, encryption method, offset of the L1 table; 48 bytes, big endian
//	      backing file name
//	L1    one 64-bit offset of an L2 table for every cluster size x L2 entries bytes of the disk; 0: none
//	L2    one 64-bit entry a cluster: 0 not allocated, the offset of the cluster, or with bit 63 set the offset of a raw
//	      deflate stream and, above the offset, its length in bytes
//
// The layout is that of libyal/libqcow's documentation; what is valid is what qemu-img 10.0.2 accepts.
//
// # Invariants
//
// Clusters and tables are only ever added at the end of the file, so space that was named once never gets another
// owner: a cluster that is written again after it was compressed leaves its old place unused. The old encryption counts
// its IVs in guest sectors; compressed clusters are never encrypted.
//
// # Order of writes
//
// A flush makes data durable, then the L2 tables as they were when the flush began, then the L1 table of that moment.
// After a crash at any point every entry in the file leads to complete data.
//
// # Locks
//
// mu guards the tables, the end of the file and the allocations in flight; no data is moved under it. Clusters that are
// being allocated are in pending; who else wants to write them waits. flushing serialises flushes.
//
// # Not supported
//
// Resize, check, snapshots and changing the backing file, as in QEMU. Clusters are not given up.
package qcow
