// Package chain turns names into graphs of open images and is the one path that every request takes.
//
// # Opening
//
// [Open] follows QEMU's rules: a name (plain, with a protocol prefix, or json:) and runtime options become a tree of
// drivers. A format's storage child is opened first, the format is probed if nobody named it, the driver says through
// Needs which further files the image is made of, and its backing file is opened after it. What an image names by
// itself goes through the [Gate].
//
// # Requests
//
// A [Node] wraps one driver's image and is the File that other drivers get as a child. A request passes, in order:
// the drain gate (shared; Exclusive takes it alone), bounds and access checks, the recorder of dirty bitmaps, widening
// to the driver's alignment under the range lock, splitting, the driver. Nothing below calls anything above.
//
// Lock order: a node's gate, then its range lock, then whatever the driver locks, then the same of its children. A
// driver's exclusive operation runs with its node's gate held alone and must use its own methods, not its node's.
package chain
