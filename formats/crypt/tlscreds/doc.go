// Package tlscreds reads the credentials of a tls-creds-x509 object: a folder with ca-cert.pem and, for the side that shows
// one, a certificate and its key. What QEMU finds wrong with them is found here, in its words, and a peer is verified as
// it does: the chain, then the time, then the name.
package tlscreds
