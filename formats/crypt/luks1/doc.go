// Package luks1 is the header of LUKS version 1 (LUKS On-Disk Format Specification 1.2.3), as QEMU reads and writes it:
// the luks format has it at the start of the file, qcow2 somewhere in its own metadata.
//
//	   0  magic "LUKS\xba\xbe", version 1
//	   8  cipher "aes", mode "xts-plain64", hash "sha256": 32 bytes each, ended by NUL
//	 104  payload offset in sectors (0: the payload is in another file), master key length in bytes
//	 112  digest, salt and iterations by which the master key is recognised
//	 168  UUID
//	 208  eight key slots of 48 bytes: state, iterations, salt, start in sectors, stripes
//	4096  key material of slot 0: the master key, split into 4000 stripes and encrypted with the passphrase's key
//	 …    key material of slots 1 to 7, each aligned to 4096 bytes
//	      payload
//
// All numbers are big-endian. A slot is written material first, state last; it is erased state first, material last:
// after a crash a slot that is marked active holds a key. Headers are checked as QEMU checks them, in its words and
// order, with arithmetic that cannot wrap; one thing more is refused, an iteration count above a limit, since it would
// keep the processor busy for hours.
//
// A key of 24 bytes outside XTS gives key material that does not fill its last sector. cryptsetup pads it, QEMU 10.0.2
// aborts on it. Such containers open here; Create refuses to make them.
package luks1
