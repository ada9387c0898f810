// Package chunkcache keeps decompressed chunks of an image: the ones used last, up to a number of bytes. A chunk that
// several readers want at once is decompressed once.
package chunkcache
