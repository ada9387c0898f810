// Package vhdx is Hyper-V's Virtual Hard Disk, version 2: fixed, dynamic and differencing, with logical sectors of 512
// and 4096 bytes ([MS-VHDX]).
//
//	0        file identifier: signature, name of the creator
//	64 KiB   header, 128 KiB its other copy: sequence number, CRC-32C, GUIDs of file, data and log, place of the log
//	192 KiB  region table, 256 KiB its copy: places of the BAT and of the metadata
//	1 MiB…   in any order, at multiples of 1 MiB: log, BAT, metadata, payload blocks, sector bitmap blocks
//
// A BAT entry is 64 bits: state in the lowest 3, place in the file in the upper 44 (1 MiB units). After every "chunk
// ratio" payload entries, which cover 2^23 sectors, stands the entry of those sectors' bitmap block, also where there is
// none.
//
// # Invariants
//
// No two entries name overlapping parts of the file, none overlaps log, BAT or metadata. New space is taken at the end of
// the file only, so what a crash leaves there is zeroes or unreferenced. A block is PARTIALLY_PRESENT only in a
// differencing image; its bits, the lowest of each byte first, say which sectors are in this file.
//
// # Order of writes
//
// Before the first write both headers get new GUIDs for file and data, one after the other, each flushed. BAT and sector
// bitmaps are cached in sectors of 4 KiB. A flush first makes data durable, then writes the changed sectors as one log
// entry and a header that names it, flushes, writes the sectors to their places, flushes, and writes the other header,
// which names no log: a crash leaves an entry that the next opening replays, or nothing to be done. The two headers are
// never both in flight. Each entry has a GUID of its own, so that none before it counts any more.
//
// # Locks
//
// commit, then mu; grow, then mu. mu guards the cached sectors and the in-flight allocations; no data is moved under it
// (sectors of the BAT are loaded under it). grow serialises what lengthens the file, commit what writes log and headers.
// A block that is being allocated is in pending; who else writes there waits.
//
// # As in QEMU
//
// What is valid, the order of the checks and the messages are those of qemu-img 10.0.2, which knows neither differencing
// images nor sectors of 4096 bytes. It gives no block status, so images without a parent show as all data here, too. A
// log that must be replayed is replayed by opening for writing, and refused when opening for reading.
//
// Programs that do not expect qemu-img (formats.Env.Beyond) see which blocks are there, read an image with a log that is
// replayed in memory, and can create differencing images.
//
// # Not supported
//
// Resize, giving up blocks (a discard makes holes in the host's file), committing differencing images.
package vhdx
