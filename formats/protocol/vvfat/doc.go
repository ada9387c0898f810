// Package vvfat presents a directory of this machine as a disk with a FAT file system, read-only: QEMU's vvfat, byte for
// byte what qemu-img 10.0.2 makes of the same directory.
//
//	sector 0      partition table with one partition (not on a floppy)
//	63            boot sector; 0 on a floppy
//	+1            two FATs
//	+2·FAT        root directory: two clusters of 8 KiB, then the clusters of everything below, breadth first
//
// The disk has 504 MiB with FAT16 (the default) and FAT32, 31.5 MiB with FAT12; a floppy 2.88 MB, 1.44 MB if FAT12 is
// asked for. The directory tree is read when the image is opened and stays as it was then: names, sizes and times, the
// symbolic links followed, what cannot be looked at left out. A name takes 32 bytes and 32 more for every 13 characters.
// File content is read when it is asked for. A file that has become shorter ends in zeroes.
//
// Names follow the directory's own order, the one in which the system lists it, with "." and ".." first.
//
// # Where it is not QEMU
//
// Behind the end of a file, the rest of its last cluster is zero; QEMU leaves there what its buffer held before. A file
// that cannot be read is an error; QEMU gives zeroes in its place. Writing back into the directory (rw) is refused.
//
// FAT32 is as QEMU makes it: the layout of FAT16 with wider entries, of which QEMU itself warns.
package vvfat
