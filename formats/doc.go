// Package formats is the contract between the graph of open images (package chain) and the drivers that understand
// how an image's bytes are laid out (format drivers), where they live (protocol drivers) or how they are changed on
// the way (filters).
//
// A driver is a [Driver]: a struct of facts and functions. A nil function means that the driver cannot do it. Drivers
// are collected in a [Registry] that package main passes down; nothing registers itself.
//
// # What a driver may rely on
//
// The graph checks every request before a driver sees it. For each call of [Image], [Writer], [Zeroer], [Discarder]:
//
//   - off and the length are multiples of Limits().Align, the length is not 0 and at most Limits().MaxTransfer;
//   - the range lies within Size() rounded up to Align (except for images that are children and say Growable);
//   - writes come only if the image was opened with [ReadWrite];
//   - overlapping writes that had to be widened to the alignment are serialised;
//   - [Exclusive] operations (snapshots, resize, amend, check, close) run while no other request is in flight.
//
// Otherwise all methods may be called concurrently, and overlapping requests do come: the result of two overlapping
// writes is either order for each byte, never anything else. A call transfers everything or returns an error.
//
// # What a driver must do
//
// It checks the context on entry and while it waits; once it starts to change metadata it finishes under Committed.
// Errors are made with package qerr, in QEMU's words. Buffers belong to the caller and are not kept after the call returns. Flush writes the driver's caches, in an order that survives a crash at any point, and
// then flushes the children. Close flushes as well, reports a failure of that, releases everything but not its
// children, which the graph closes afterwards.
//
// # Children
//
// A driver never opens a path and never calls up. Its primary child comes as OpenArgs.File, further ones that
// Driver.Needs asked for as OpenArgs.Children, and its backing file through [Backed] after Open has returned. A child
// is a complete [File]: every operation, any alignment; reads past its end give zeroes, writes past its end grow it
// where the storage can grow.
package formats
