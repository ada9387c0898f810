// Package mount tests real mounts: the program as users run it, real processes that read and write the files of the
// tree, and stock qemu-img as the judge of what is in the image afterwards. What a machine lacks (the FUSE device, loop
// devices, a tool, the stock tools) skips a test with the reason.
package mount
