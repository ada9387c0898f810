// Package sm3 is the hash SM3 (GB/T 32905-2016, ISO/IEC 10118-3), which QEMU accepts in LUKS headers. It is forty
// lines of a frozen standard; the modules that offer it bring a whole family of algorithms along.
package sm3
