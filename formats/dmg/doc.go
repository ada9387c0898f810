// Package dmg reads Apple's disk images in the Universal Disk Image Format (UDIF).
//
//	0             data fork: the chunks
//	…             property list (XML), or an old resource fork, with the chunk tables
//	end − 512     trailer "koly": where the forks and the property list are, number of sectors
//
// There is no official specification; the layout is that which the free implementations agree upon (jhermsmeier's
// node-udif, libyal's libmodi, QEMU). All numbers are big-endian. A chunk table ("mish") describes one partition:
//
//	0    magic, version, first sector, sectors, base of the chunks' offsets in the data fork, …
//	204  40 bytes a chunk: kind, comment, first sector and sectors (from the table's first), offset, length
//
// Chunks are zeroes, plain, or compressed with zlib, bzip2, LZFSE, ADC or LZMA (xz). They may come in any order; here they
// are sorted and found by binary search. A compressed chunk is decompressed as a whole, by as many processors as a request
// spans chunks, and kept in a bounded cache where a request ends within it. So reading on decompresses each chunk once.
//
// # Limits
//
// What qemu-img 10.0.2 keeps: chunks of at most 64 MiB, stored and decompressed; property lists of at most 16 MiB (here
// resource forks, too). The property list is scanned for its data elements. Nothing is resolved: the standard DOCTYPE
// line is passed over, any other one or an entity declaration is refused.
//
// # Beyond QEMU
//
// Stock builds without the modules for bzip2 and LZFSE warn and fail with EIO where such a chunk is read; ADC and LZMA
// are nowhere supported. Here they are read and nothing is said. An image whose trailer counts no sectors is as long as
// its chunks. Segmented images are read where the further segments (NAME.002.dmgpart and so on) lie beside the first;
// QEMU takes the first alone for the whole.
//
// # Not supported
//
// Writing; encrypted images, sparse images and sparse bundles, which are other formats.
package dmg
