// Package copier moves the content of images in pieces, on several workers at once, in bounded memory.
//
// A [Job] is cut into pieces by its Next function, which is asked for one piece after the other, in order, while the
// copy is under way: nothing is walked beforehand. Each worker owns one buffer that it uses again for every piece. What
// is slow and independent (reading, comparing, compressing) belongs into Load, which runs for several pieces at once;
// what changes the target belongs into Store. With Ordered, Store runs for one piece after the other in the order of
// Next, so that the layout of the target does not depend on timing; a Store that has reserved its place in the target
// early may let the next one begin before it is done.
//
// Errors are those of the first piece in order that failed, if Ordered; nothing after that piece was stored then.
package copier
