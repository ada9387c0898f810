package servers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// span is when a certificate is valid, in hours from now.
type span struct{ from, to time.Duration }

var (
	valid   = span{-1, 24 * 30}
	expired = span{-48, -24}
	future  = span{24, 48}
)

func sign(t *testing.T, template *x509.Certificate, when span, by *authority) (cert, key []byte, a *authority) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(when.from*time.Hour), time.Now().Add(when.to*time.Hour)
	template.BasicConstraintsValid = true
	parent, signer := template, k
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &k.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
	return cert, key, &authority{parsed, k, cert}
}

func newAuthority(t *testing.T, name string, when span) *authority {
	_, _, a := sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}, when, nil)
	return a
}

// credentials makes a folder with the files of a tls-creds-x509 object: the CA's certificate, and, where who is "server"
// or "client", that one's.
func (a *authority) credentials(t *testing.T, dir string, trust *authority, who, host string, when span) {
	t.Helper()
	write := func(name string, p []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), p, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write("ca-cert.pem", trust.pem)
	if who == "" {
		return
	}
	usage := map[string]x509.ExtKeyUsage{"server": x509.ExtKeyUsageServerAuth, "client": x509.ExtKeyUsageClientAuth}[who]
	cert, key, _ := sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		IPAddresses: map[bool][]net.IP{true: {net.IPv4(127, 0, 0, 1)}}[host == "localhost"],
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{usage}}, when, a)
	write(who+"-cert.pem", cert)
	write(who+"-key.pem", key)
}
