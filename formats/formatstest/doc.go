// Package formatstest is what every driver's tests run: a Subject names a format and its creation options, and Run
// creates, writes, reopens, breaks and crashes images of it.
//
// Images live in a Store, a set of files in memory that logs every write, truncation and flush. From the log it can
// rebuild what a disk may hold after a crash at any moment: what was flushed is there, of what was not each write is
// there, not there, or torn at a sector. A Fault makes the n-th operation fail.
//
// Content is compared with a model, a plain byte array (or, in the crash test, the set of values that each sector may
// have). Everything is seeded: a failure names the seed and the step, and comes again.
package formatstest
