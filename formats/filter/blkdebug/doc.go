// Package blkdebug is the filter that makes requests fail by rules, to test what lies above it.
//
// Drivers and the graph raise events on the way (formats.Event). A rule belongs to an event, and to a state or to any; the
// state is a number, at first 1. When its event is raised in its state, a set-state rule changes the state, and the
// inject-error rules of the event replace those that were in force before. An inject-error rule that is in force makes the
// requests fail that it matches: by kind (iotype) and by the sector that they touch.
//
// Rules come as runtime options, inject-error.N.KEY and set-state.N.KEY, or from a file in the form of QEMU's -readconfig.
// The filter can also lay down what requests look like: their alignment, the longest transfer, and the granularity and the
// longest of zeroes and discards.
//
// A breakpoint (qemu-io's break) has no place here: no verb could resume the request.
package blkdebug
