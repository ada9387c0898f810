// Package render turns the results of verbs into text and JSON, byte for byte what qemu-img prints.
//
// Functions write to a writer or return bytes; nothing here works on images. JSON objects take their order of members
// from package qobj; map writes its lines in an order of its own, as qemu-img does.
package render
