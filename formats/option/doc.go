// Package option describes the options of a driver (Schema), reads what the user gives for them (Values), and prints
// both as qemu-img does.
//
// Options arrive as a comma-separated list after -o ("cluster_size=64k,preallocation=off", a comma within a value
// doubled) or as a flat dictionary made of a json: name or of --image-opts. Either way they are checked against the
// schema at once, with QEMU's words, and read by typed getters afterwards.
package option
