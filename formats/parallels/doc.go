// Package parallels is the expandable image of Parallels and Virtuozzo (.hds): one file, as qemu-img 10.0.2 reads,
// writes, checks and repairs it. The layout is that of QEMU's docs/interop/parallels.rst.
//
//	0x00  header: magic, version 2, geometry, sectors a cluster, entries of the BAT, sectors of the disk, mark of
//	      being in use, start of the data area in sectors, flags, place of the format extension
//	0x40  BAT: one 32-bit little-endian entry a cluster; 0 is not allocated. "WithoutFreeSpace" counts sectors from
//	      the start of the file, "WithouFreSpacExt" counts clusters
//	data  clusters of any number of sectors, not only powers of two
//
// # Invariants
//
// While the image is open for writing the header bears the mark of being in use. used has a bit for each cluster of the
// data area that an entry names, in memory or in the file: a cluster that is given up becomes free when the BAT that
// no longer names it is in the file for good.
//
// # Order of writes
//
// The format has no journal. At a flush data goes to disk before the BAT. Close writes the BAT, takes the mark away and
// cuts the file behind the last cluster. An image that bears the mark, or whose BAT does not fit the file, is checked
// and repaired when it is opened for writing, as by QEMU, which also says so.
//
// # Locks
//
// mu guards the BAT, used and the in-flight allocations; no data is moved under it, except by a repair. A cluster being
// allocated is in pending; who else wants it waits.
//
// # Bundles
//
// Parallels keeps a disk as a directory NAME.hdd with a DiskDescriptor.xml, which QEMU does not read. The driver opens it,
// or the directory, as one image: its parts are the images that the descriptor names, each a child with the driver
// parallels or raw; those of one part that stand on one another are joined as image and backing file. Only the active
// one is written. The others are listed as internal snapshots, which can be read and not changed. The descriptor is
// never written.
//
// # Not supported
//
// Padded and encrypted bundles; changing the snapshots of a bundle; resize; keeping the dirty bitmaps of a format extension where the image is written:
// it is read when the image is opened for reading, else ignored with a warning, as by QEMU, and taken out of the header
// by the first write.
package parallels
