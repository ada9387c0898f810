// Package null is the protocol for a disk that holds nothing: the drivers null-co and null-aio. Writes vanish. Reads
// leave the buffer as it is unless read-zeroes is set; a fresh buffer must not show old memory to a user, so zeroes
// are given then, too.
package null
