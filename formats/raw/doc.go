// Package raw is the format that is none: the disk's bytes are the file's, or a window of it (offset and size).
//
//	file:   |........ offset ........|======== size ========|.......|
//	disk:                            0                      size
//
// Requests pass straight through to the child, which decides about alignment, holes and growth. The image itself has
// nothing that a crash could leave inconsistent. A guest must not turn a disk whose format was guessed into another
// format by writing its first sector; the graph guards that.
package raw
