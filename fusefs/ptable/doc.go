// Package ptable reads partition tables and recognises what lies in partitions.
//
// Understood are GPT (UEFI specification 2.10, section 5.3), from its backup where the first header is damaged, with
// sectors of 512 and 4096 bytes, MBR with logical partitions, Apple's partition map, and BSD disklabels, of a whole disk
// or within an MBR partition. The libraries for this either lack the last two or write as well. Everything is checked against the size of the disk;
// what does not fit is left out and said in Table.Problems. Nothing is ever written.
package ptable
