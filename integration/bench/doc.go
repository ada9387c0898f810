// Bench measures platter against the stock qemu tools: the command line against qemu-img, the mount against
// qemu-storage-daemon's FUSE export. Both take turns within one run, on equal files, so that what else the machine does
// touches both; what counts is the ratio of the medians. CPU is what the command, or the daemon behind the mount, used
// of the processors, user and system together; the one who reads and writes the mounted file is not counted. It prints
// figures, their geometric means and the load of the machine, and judges nothing.
//
//	go run ./integration/bench [-rounds 5] [-size 256] [-run REGEXP] [-dir FOLDER]
//
// Writes through the mount are timed until the last write(2) returns where their names do not speak of fsync: what
// comes after that is the disk's speed, which is the same for both.
package main
