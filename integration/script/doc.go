// Package script runs the command lines in testdata/*.txt: each file is one behaviour, readable by a user, in the form of
// testscript (go doc github.com/rogpeppe/go-internal/testscript). The commands platter and qemu-img, which is platter
// under that name, are on the PATH; stock-qemu-img is the oracle where there is one.
//
// Conditions for lines and scripts: [stock] the oracle is there, [mount] this machine can mount with FUSE, [root].
package script
