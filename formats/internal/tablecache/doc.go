// Package tablecache keeps tables of 64-bit words that live in an image file (parts of qcow2's level 2 tables, its
// refcount blocks) decoded in memory: write-back, bounded, and with look-ups that take no lock.
//
// One owner changes the cache, under a lock of its own; any number of readers find tables and read words at the same
// time. A reader that wants several words from one moment brackets them with [Table.Begin] and [Table.Consistent].
//
// The cache orders nothing by itself and writes nothing: [Cache.TakeDirty] hands the changed parts out, encoded, as a
// picture of one moment, and the owner brings them to the file in the order that its format needs. A dirty table is
// never dropped, so the bound is on clean tables; the owner writes back when [Cache.Dirty] grows.
package tablecache
