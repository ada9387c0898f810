// Package tools holds the verbs: create, info, check, resize, snapshot, bitmap, amend, commit, rebase and the rest, each
// a plain function that takes a struct of options and returns a struct of results.
//
// # Shape of a verb
//
// VERB(ctx, env, VERBOptions) opens what the options name, works on it and closes it; the command line calls it.
// VERBNode(ctx, node, …), where there is one, works on a node that is open already; a mount calls it. Nothing here
// prints. What a verb finds is in its result, which package render turns into text; what happens on the way
// (warnings, the findings of check) goes to env.Warn and env.Report in the order in which it happens; how far a long
// job is goes to a [Meter].
//
// # Errors
//
// An error's text is what stands behind "qemu-img: ", its hint what follows on the next line (package qerr). Verbs whose
// exit status is not simply 0 or 1 say so in their documentation, by a kind of error or in their result.
//
// # Durability
//
// A verb that returned no error has flushed everything it wrote. Where a verb changes a reference to another file
// (rebase, commit), what is to be kept is on stable storage before the reference changes.
package tools
