// Package complete finds what a word of a command line may become. The scripts for bash, zsh and fish are thin: they
// hand the words to the hidden command "platter complete", so that all shells know the same, from the same tables as the
// parser.
package complete
