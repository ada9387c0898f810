// Package luks is the driver of encrypted containers: LUKS version 1 as QEMU's driver luks has it, and the data of LUKS
// version 2 beyond that.
//
//	0        header and key material, crypt/luks1 or crypt/luks2 (absent where the header is detached)
//	payload  the disk, encrypted sector by sector; IVs count from here
//
// The disk ends where the file ends. Every sector is stored, so a write changes it in place, and the file's own order of
// writes is the disk's. What was never written decrypts to noise: a new container does not read as zeroes, nor does what
// a resize adds; and neither zeroes nor discards can be passed down without telling an onlooker where the disk is empty.
//
// Requests move through buffers of at most 1 MiB: reading decrypts in the caller's buffer, writing encrypts a copy.
// Package crypt spreads both over the processors.
//
// # Which version
//
// Probing knows version 1 only, as QEMU's does: a LUKS2 container that nobody names is raw, so that a copy of it stays
// an exact copy. Named (-f luks), it is opened for reading and writing; its key slots are changed
// with the same options (there are 32, and new ones are made in the manner of the one that opened). QEMU 10.0.2 refuses
// it ("LUKS version 2 is not supported").
//
// # Detached headers
//
// The header is read from the child "header" where runtime options give one, and key slots are changed there. Create
// with detached-header=on writes the header alone; qemu-img 10.0.2 has that option and fails on any use of it.
//
// # Locks
//
// There are none: the key and the payload's place never change while the image is open. Amend changes the header alone
// and runs exclusively.
//
// # Not supported
//
// Reencryption, integrity, several segments, creating version 2, other ciphers than those of package crypt.
package luks
