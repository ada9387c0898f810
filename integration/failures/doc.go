// Package failures ends verbs in the middle, by signals and by kill -9 at many moments, fills the disk under them, and
// looks at what is left: the source is what it was, an image with its backing files reads as before or as after, stock
// check finds nothing but leaks, and where stock meets the same, the words are the same.
package failures
