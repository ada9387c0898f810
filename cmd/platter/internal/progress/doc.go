// Package progress shows how far a long verb is: as qemu-img -p does, to the byte; on SIGUSR1, as qemu-img does without
// -p; or as a bar on a terminal.
package progress
