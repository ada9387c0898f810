package tlscreds

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"syscall"
	"time"

	"platter/formats/qerr"
)

// Config is the client's side of a connection to host, "" if its name is not known. With verify the peer's certificate must
// be in order, and of that name.
func (c *Creds) Config(host string, verify bool) *tls.Config {
	t := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}
	if net.ParseIP(host) == nil {
		t.ServerName = host
	}
	if c.own != nil {
		t.Certificates = []tls.Certificate{*c.own}
	}
	if verify {
		t.VerifyConnection = func(s tls.ConnectionState) error { return c.verify(s.PeerCertificates, host) }
	}
	return t
}

// verify looks at the chain, the time and the name of a peer.
func (c *Creds) verify(chain []*x509.Certificate, host string) error {
	if len(chain) == 0 {
		return qerr.New(syscall.EINVAL, "No certificate peers")
	}
	if err := c.trusts(chain); err != nil {
		return err
	}
	if host == "" {
		return qerr.New(syscall.EINVAL, "No hostname for certificate validation")
	}
	if !named(chain[0], host) {
		return qerr.New(syscall.EINVAL, "Certificate does not match the hostname %s", host)
	}
	return nil
}

// trusts looks for a way from a certificate to one of the authorities. A certificate that is out of date is not trusted
// either.
func (c *Creds) trusts(chain []*x509.Certificate) error {
	opts := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	for _, a := range c.authorities {
		opts.Roots.AddCert(a)
	}
	for _, i := range chain[1:] {
		opts.Intermediates.AddCert(i)
	}
	_, err := chain[0].Verify(opts)
	var unknown x509.UnknownAuthorityError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &unknown):
		return qerr.New(syscall.EINVAL, "The certificate hasn't got a known issuer")
	case time.Now().After(chain[0].NotAfter) || time.Now().Before(chain[0].NotBefore):
		return qerr.New(syscall.EINVAL, "The certificate is not trusted")
	}
	var insecure x509.InsecureAlgorithmError
	if errors.As(err, &insecure) {
		return qerr.New(syscall.EINVAL, "The certificate uses an insecure algorithm")
	}
	return qerr.New(syscall.EINVAL, "The certificate is not trusted")
}

// named says whether a certificate is that of host. One without alternative names has its name as its subject.
func named(cert *x509.Certificate, host string) bool {
	if cert.VerifyHostname(host) == nil {
		return true
	}
	return len(cert.DNSNames)+len(cert.IPAddresses) == 0 && strings.EqualFold(cert.Subject.CommonName, host)
}
