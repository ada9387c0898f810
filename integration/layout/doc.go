// Package layout holds the rules of the source tree as tests: which package may import which, the size of files and
// functions, documentation, words that have no place, and that nothing happens in init.
package layout
