// Package twin runs a scenario twice, once with stock qemu-img and once with platter called qemu-img, each in a folder of
// its own, and compares the two transcripts: every command line with its output and exit code, and whatever else the
// scenario notes, such as the sum of a file.
//
// The tables of integration/oracle are made of command lines alone. A scenario is for what needs more: a server, a
// process that holds a lock, a full disk, a signal.
package twin
