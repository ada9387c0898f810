// Package locks holds images open with one program and runs another on them: stock qemu-io and qemu-nbd hold while every
// verb of qemu-img runs, stock's and ours, and verbs and mounts of ours hold, as stock's do, while stock tools run. What
// is refused, with which words, and what is left must be the same.
package locks
