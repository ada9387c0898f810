// Package fusefs shows open images as a tree of files.
//
// # The tree
//
//	disk.raw               the guest disk
//	partitions/            windows onto it, links to them by label and UUID, table.json (partitions.go, package ptable)
//	chain/0/ 1/ …          the layers: disk.raw (from that layer down), own.raw (only what it holds), file, info.json
//	snapshots/NAME/        mkdir, rmdir and mv make, delete and rename internal snapshots
//	bitmaps/NAME/          the same for persistent dirty bitmaps
//	info.json map.json     what the verbs print, with their true sizes; check.json
//	ctl                    the verbs on the open image (control.go)
//	stats.json error_log   figures since the mount, and the words of the last failures
//
// A mount of several images has a directory with such a tree for each (gallery.go).
//
// # Layers of the package
//
// transport.go moves requests between the device and the tree; tree.go, requests.go and xattr.go find the node or handle
// of a request (table.go) and turn errors into errno. node.go says what a file of the tree can be. data.go has the files
// that show a disk or a part of it; image.go is the open image behind them, through which all writes go; text.go has the
// descriptions. mount.go, attach.go, check.go and session.go make and end mounts.
//
// Reads and writes are decoded by the transport itself and allocate nothing; all other requests are parsed by go-fuse.
//
// # Caching
//
// The kernel keeps the pages of disk.raw until it is told to drop them, and the daemon tells it whenever the bytes
// change through another file (notify.go has the rules that keep this free of deadlocks). Descriptors opened for
// writing only bypass the cache. The kernel's write-back cache is never used: SEEK_DATA would not see what is in it.
//
// What processes store through mappings reaches the daemon when the kernel likes. Before a state of the disk is taken or
// replaced, the kernel is made to write it (notifier.collect).
//
// Large reads are answered with pages that the image's file has in memory already, where the drivers can lend them
// (formats.Lender). A disk that is mounted read-only and is one whole file is read by the kernel itself, where that is
// permitted (passthrough.go).
//
// # Durability
//
// fsync(2) is a flush of the whole graph of images. A write that nobody flushes is flushed after flushDelay. A flush
// that failed fails again until the end, and the exit status of unmount says so.
package fusefs
