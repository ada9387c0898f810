// Package getopt reads a command line by the rules of GNU getopt_long: options and operands in any order, values that
// are stuck to their letter (-fqcow2) or to their name (--format=qcow2), letters in clusters (-qp), unambiguous
// prefixes of long names, "--", and the same complaints word for word.
//
// It exists because no library does all of this: the standard flag package and urfave/cli stop at the first operand
// and know neither clusters nor prefixes, and scripts that call qemu-img rely on each of them.
package getopt
