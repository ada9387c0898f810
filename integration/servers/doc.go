// Package servers runs qemu-img's command lines against real servers, stock's and ours with the same server, and compares
// what they say and what they leave: NBD by stock qemu-nbd and nbdkit, HTTP by nginx, and servers made here that break
// off, stall, or lie.
package servers
