// Bench measures platter against the stock qemu tools: the command line against qemu-img, the mount against
// qemu-storage-daemon's FUSE export. Both take turns within one run, on equal files, so that what else the machine does
// touches both; what counts is the ratio of the medians. It prints times and judges nothing.
//
//	go run ./integration/bench [-rounds 5] [-size 256] [-run REGEXP] [-dir FOLDER]
package main
