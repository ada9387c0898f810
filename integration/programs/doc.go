// Package programs finds or makes the programs that tests run: the stock qemu tools ("the oracle") and this module's own
// binary, under the name it is to be called by.
//
//	PLATTER_ORACLE    folder of the stock tools; default .cache/oracle, made by `make oracle`
//	PLATTER_TEST_BIN  a program to test in place of the module's own, for example stock qemu-img itself
package programs
