// Package nbd is a client of the Network Block Device protocol (NetworkBlockDevice/nbd doc/proto.md): the driver nbd
// for TCP and Unix sockets, with TLS, structured replies, block status, write zeroes and trim.
//
// A connection has one writer at a time and one goroutine that reads replies and hands each to the request with its
// cookie; the payload of a read goes from the socket straight into the caller's buffer. Every length in a reply is held
// against the request before it is believed. When the connection breaks, all requests under way and all later ones fail
// with EIO.
//
// With reconnect-delay the client connects anew for that long, and sends again what was under way; the requests of the
// protocol may be repeated. An export that has another size then is another disk, and is refused.
//
// The export's size is what the server says when the connection is made; it does not change.
//
// Not supported: extended headers (requests are split at 32 bits anyway), vsock addresses, which Go's
// net package does not have, and TLS with pre-shared keys, which crypto/tls does not have.
package nbd
