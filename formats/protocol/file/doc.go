// Package file is the protocol for files and block devices of this machine: the drivers file and host_device.
//
// Reads and writes are pread and pwrite, or, as the option aio says, requests to Linux AIO or io_uring; nothing is cached above the kernel. Holes are found with SEEK_DATA and
// SEEK_HOLE, made with fallocate (files) or BLKDISCARD and BLKZEROOUT (devices). With cache.direct the file is opened
// O_DIRECT and requests go through an aligned buffer where the caller's memory is not aligned.
//
// An open image holds QEMU's lock bytes as open file description locks: byte 100+bit for each permission it uses, byte
// 200+bit for each that it does not share (see RELIABILITY in QEMU's terms: block permissions). They vanish with the
// last descriptor, so a killed process leaves none behind.
//
// Nothing is opened that could block: FIFOs, sockets and directories are refused after an open with O_NONBLOCK.
package file
