// Package luks2 opens containers of LUKS version 2 (LUKS2 On-Disk Format Specification 1.1.1) for reading and writing
// their data. QEMU 10.0.2 does not know them.
//
//	0        binary header: magic "LUKS\xba\xbe", version 2, size, sequence number, checksum, UUID
//	4096     JSON: key slots, segments, digests, requirements; ends at the header's size (16 KiB to 4 MiB)
//	size     the same again, magic "SKUL\xba\xbe"
//	2·size   key material of the slots
//	…        segment 0: the data
//
// Of the two headers the one that is whole counts; of two, the one with the higher sequence number. Only a change of key
// slots writes headers: both, one after the other, with a higher sequence number. What is not known in the metadata
// stays in it.
//
// Opened: one segment of type crypt with sectors of 512 to 4096 bytes; key slots of type luks2 with PBKDF2, Argon2i and
// Argon2id. Refused, by name: any mandatory requirement (a reencryption under way, OPAL), integrity, several segments.
// The IV counts in 512-byte sectors whatever the size of the encrypted sectors is.
//
// What metadata can ask of memory and processor is limited by OpenOptions before it is done.
package luks2
