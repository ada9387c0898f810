// Package corpus reads disk images that other programs made and that are public, and compares the guest disk with the
// known SHA-256 sums of their manifest.json. PLATTER_CORPUS is the folder, ../shared/corpus beside the module by default.
package corpus
