// Command platter shows disk images as files, and is a drop-in for qemu-img 10.0.2.
//
// # Two ways of being called
//
// If the base name of argv[0] begins with "qemu-img", platter is qemu-img: the same options, messages, help and exit
// codes to the byte. As platter it has the same verbs under its own name, some more of its own, and is friendlier.
//
// # From arguments to a verb
//
// main.go finds the verb and calls its parser. Each verb VERB has a file VERB.go with three things: a struct of what the
// command line said, a function parseVERB that fills it from a parser (parser.go), and the method run, which calls the
// verb in package tools and prints the result. The options themselves stand in internal/verb; help, manual pages and
// completion are made from the same tables. parseVERB reports the mistakes that qemu-img finds before it opens
// anything, in qemu-img's order.
//
// # Why not urfave/cli for the verbs
//
// It stops at the first operand, does not know -fqcow2 or unambiguous prefixes, and words its errors otherwise. The
// arguments of platter's own verbs are brought into its form first (own.go), so that they follow the same rules.
package main
