// Package serpent is the block cipher Serpent with keys of 128, 192 and 256 bits (Anderson, Biham, Knudsen: Serpent, a
// proposal for the Advanced Encryption Standard), which LUKS containers may use. Words are little-endian, as in the
// Linux kernel, libgcrypt and nettle. The S-boxes work on 32 columns at a time, so that nothing depends on tables:
// the time does not tell the key.
//
// No Go module of it is kept up, hence this one.
package serpent
