// Package qcow2 reads and writes QEMU's copy-on-write format, versions 2 and 3.
//
// # On disk
//
//	| header, extensions, backing name | … clusters of any of these kinds, in any place …
//	  refcount table  -> refcount blocks: how often each host cluster is used
//	  L1 table        -> L2 tables -> data clusters, compressed data
//	  snapshot table  -> L1 tables of snapshots
//	  bitmap directory -> bitmap tables -> bits
//
// A guest offset selects an L1 entry, an L2 entry, and a byte in a cluster. An L2 entry says that the cluster is
// unallocated (the backing file's), zeroes, stored, or compressed; extended L2 entries say it for 32 subclusters. The
// COPIED flag of L1 and L2 entries says that the refcount is exactly 1, so that the cluster may be written in place.
//
// # In memory
//
// The active L1 table and the refcount table are held whole; L2 tables in slices, and refcount blocks, in caches
// (package tablecache). A slice is found by its place in the file, so that tables shared by snapshots are cached once.
//
// # Locks
//
// In order: commitMu, mu. commitMu is held while metadata goes to the file, mu while metadata in memory is looked at
// for a change or changed. mu is held while a table is loaded, never while data moves. A read takes neither: the L1
// table and the caches are read atomically.
//
// What is decompressed has a lock of its own (decoded.go), the last in order, under which nothing is waited for or moved.
// Workers that decompress ahead of a reader look into no table: a request gives them descriptors, and whoever gives a
// cluster up has the decompressed ones forgotten before it can get another use. Close waits for the workers.
//
// A request that maps guest clusters to host clusters is counted by an epoch (reclaim.go) as long as it uses them. A
// host cluster that is given up goes back to the allocator only when all requests have ended that might still use it
// and when nothing in the file refers to it any more.
//
// A write that allocates registers a pending allocation for the guest clusters that it fills; whatever changes the
// same guest clusters waits until it is linked or given up.
//
// # The order of writes
//
// A write puts data into fresh clusters first and links them in the cached L2 table after. commit (commit.go) brings
// metadata to the file, from a picture taken of one moment:
//
//  1. refcount blocks, L2 tables that no L1 entry in the file refers to yet; flush (this covers the data as well)
//  2. entries of the refcount table for new refcount blocks, if there are any; flush
//  3. parts of L2 tables and L1 entries; flush
//  4. clusters that nothing refers to any more after that are given up: their refcounts fall, and go to the file with
//     the next commit.
//
// Refcounts in the file are therefore never lower than the number of references: a crash at any point can leak
// clusters and nothing else, and what commit acknowledged is there. With lazy refcounts step 1 writes no refcounts; the
// dirty bit, set before, makes the next opening for writing count them anew.
//
// Operations that the graph runs exclusively (resize, snapshots, amend, bitmaps, repair) use the same parts: they change
// the tables under mu, give clusters up through release, and call commit where an order is needed.
package qcow2
