// Package blockmap is a table of 32-bit entries in a file, one a block of a disk: vdi's block map, vpc's block
// allocation table. Pages are loaded as they are needed, kept within a bound, and written back when their owner says
// so.
package blockmap
