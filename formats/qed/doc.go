// Package qed is QEMU's Enhanced Disk format (qemu/qemu docs/interop/qed_spec).
//
//	0x00  header: magic, sizes of cluster, table and header, three feature words, offset of the L1 table, disk size,
//	      place of the backing file's name; little-endian, see header.go
//	L1    a table of 64-bit offsets of L2 tables, 0: none
//	L2    tables of 64-bit offsets of data clusters; 0: the backing file decides, 1: the cluster reads as zeroes
//	data  clusters in the order of their allocation, between the tables
//
// Tables are of table_size clusters. There is no list of free space: the file grows at its end.
//
// # Order of writes
//
// A new cluster is written whole, and a new L2 table is zeroed, before anything names it. Changed pages of the tables
// stay in memory until a flush, which takes a copy of them, flushes the data, writes L2 pages, flushes, writes L1
// pages, and flushes again: what is on disk never names what is not. The need-check bit is set with the first allocation
// and is on disk before the first table; it is cleared when nothing is left to write. A crash leaks clusters at most.
//
// # Locks
//
// flushing is held during a flush and comes before mu. mu guards header, tables, file end and pending; tables are read
// under it, data is not moved under it, except that a new L2 table is zeroed. Clusters being allocated are in pending;
// who else wants to write them waits.
//
// # Differences from QEMU
//
// Zeroes over allocated clusters are written in place, as by QEMU, but with a hole where the storage can make one: the
// format has no way to give a cluster up. Images with a table size of 1 are refused as by QEMU, which creates them.
//
// # Not supported
//
// Discard, shrinking, internal snapshots, compression: the format has none of them.
package qed
