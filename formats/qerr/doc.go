// Package qerr carries errors in QEMU's words with Go's kinds.
//
// The text of an error is part of the product: scripts and users read it, and it equals what qemu-img prints. Code,
// however, never looks at text. Every error therefore carries an errno beside its message, which errors.Is matches
// (both against syscall.Errno values and against fs.ErrNotExist and its kin), and which the mount hands to the kernel.
//
// A hint is advice printed on a line of its own after the message; it is not part of Error().
package qerr
