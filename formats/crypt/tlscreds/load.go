package tlscreds

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"syscall"
	"time"

	"platter/formats/qerr"
)

// Creds are credentials that were read and found sound.
type Creds struct {
	authorities []*x509.Certificate
	own         *tls.Certificate
}

// Load reads the folder of one side, which is "client" or "server"; with check it looks at the certificates, as well.
// The server must have a certificate, the client may.
func Load(dir, side string, check bool) (*Creds, error) {
	caPath, certPath, keyPath := dir+"/ca-cert.pem", dir+"/"+side+"-cert.pem", dir+"/"+side+"-key.pem"
	for _, path := range []string{caPath, certPath, keyPath} {
		_, err := os.Stat(path)
		if err != nil && (path == caPath || side == "server" || !errors.Is(err, os.ErrNotExist)) {
			return nil, qerr.New(qerr.Of(err), "Unable to access credentials %s: %s", path, qerr.Text(err))
		}
	}
	c := &Creds{}
	certPEM, certErr := os.ReadFile(certPath)
	keyPEM, keyErr := os.ReadFile(keyPath)
	has := certErr == nil && keyErr == nil
	var chain []*x509.Certificate
	var err error
	if c.authorities, err = readChain(caPath); err != nil || len(c.authorities) == 0 {
		return nil, qerr.New(syscall.EINVAL, "Unable to import CA certificate list %s", caPath)
	}
	if has {
		if chain = parseAll(certPEM); len(chain) == 0 {
			return nil, qerr.New(syscall.EINVAL, "Unable to import %s certificate %s: Base64 unexpected header error.", side, certPath)
		}
	}
	if check {
		if err := c.sanity(caPath, certPath, side, chain); err != nil {
			return nil, err
		}
	}
	if has {
		pair, err := tls.X509KeyPair(certPEM, keyPEM)
		if err != nil {
			return nil, qerr.New(syscall.EINVAL, "Cannot load certificate '%s' & key '%s': %s", certPath, keyPath, pairText(keyPEM))
		}
		c.own = &pair
	}
	return c, nil
}

// pairText is why a certificate and a key do not go together: both are sound, or the key is not.
func pairText(key []byte) string {
	if p, _ := pem.Decode(key); p == nil {
		return "Base64 unexpected header error."
	}
	return "The certificate and the given key do not match."
}

func readChain(path string) ([]*x509.Certificate, error) {
	p, err := os.ReadFile(path)
	return parseAll(p), err
}

// parseAll reads the certificates of a PEM file; nil if one is damaged.
func parseAll(p []byte) (all []*x509.Certificate) {
	for len(bytes.TrimSpace(p)) > 0 {
		var block *pem.Block
		if block, p = pem.Decode(p); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil
		}
		all = append(all, cert)
	}
	return all
}

// sanity finds what would make every connection fail.
func (c *Creds) sanity(caPath, certPath, side string, chain []*x509.Certificate) error {
	if len(chain) > 0 {
		if err := sound(chain[0], certPath, side); err != nil {
			return err
		}
	}
	for _, a := range c.authorities {
		if err := sound(a, caPath, "CA"); err != nil {
			return err
		}
	}
	if len(chain) == 0 {
		return nil
	}
	if err := c.trusts(chain); err != nil {
		return qerr.New(syscall.EINVAL, "Our own certificate %s failed validation against %s: %s", certPath, caPath, err)
	}
	return nil
}

// sound looks at one certificate's time, constraints and purpose.
func sound(cert *x509.Certificate, path, role string) error {
	now, isCA := time.Now(), role == "CA"
	bad := func(format string, a ...any) error { return qerr.New(syscall.EINVAL, format, a...) }
	switch {
	case now.After(cert.NotAfter):
		return bad("The %s certificate %s has expired", role, path)
	case now.Before(cert.NotBefore):
		return bad("The %s certificate %s is not yet active", role, path)
	case isCA && !cert.BasicConstraintsValid:
		return bad("The certificate %s is missing basic constraints for a CA", path)
	case isCA && !cert.IsCA:
		return bad("The certificate %s basic constraints do not show a CA", path)
	case !isCA && cert.IsCA:
		return bad("The certificate %s basic constraints show a CA, but we need one for a %s", path, role)
	}
	if isCA || len(cert.ExtKeyUsage)+len(cert.UnknownExtKeyUsage) == 0 {
		return nil
	}
	wanted := map[string]x509.ExtKeyUsage{"server": x509.ExtKeyUsageServerAuth, "client": x509.ExtKeyUsageClientAuth}[role]
	for _, usage := range cert.ExtKeyUsage {
		if usage == wanted || usage == x509.ExtKeyUsageAny {
			return nil
		}
	}
	return bad("The certificate %s purpose does not allow use with a TLS %s", path, role)
}
