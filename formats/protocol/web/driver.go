package web

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"platter/formats"
	"platter/formats/option"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

const (
	defaultReadahead = 256 << 10
	maxReadahead     = 64 << 20
	defaultTimeout   = 5
	maxTimeout       = 10000
)

// Drivers are http and https.
func Drivers() []*formats.Driver {
	var ds []*formats.Driver
	for _, name := range []string{"http", "https"} {
		ds = append(ds, &formats.Driver{
			Name: name, Kind: formats.Protocol, Schemes: []string{name}, OpenOpts: openOpts,
			StrongOpts: []string{"url", "sslverify", "cookie", "cookie-secret", "username", "password-secret", "proxy-username",
				"proxy-password-secret"},
			ParseName: func(file string, into *qobj.Dict) error {
				into.Delete("filename")
				into.Set("url", file)
				return nil
			},
			Open: func(ctx context.Context, a formats.OpenArgs) (formats.Image, error) { return open(ctx, name, a) },
		})
	}
	return ds
}

var openOpts = option.Schema{
	{Name: "url", Type: option.String, Help: "URL to open"},
	{Name: "readahead", Type: option.Size, Help: "Readahead size"},
	{Name: "sslverify", Type: option.Bool, Help: "Verify SSL certificate"},
	{Name: "timeout", Type: option.Number, Help: "Curl timeout"},
	{Name: "cookie", Type: option.String, Help: "Pass the cookie or list of cookies with each request"},
	{Name: "cookie-secret", Type: option.String, Help: "ID of secret used as cookie passed with each request"},
	{Name: "username", Type: option.String, Help: "Username for HTTP auth"},
	{Name: "password-secret", Type: option.String, Help: "ID of secret used as password for HTTP auth"},
	{Name: "proxy-username", Type: option.String, Help: "Username for HTTP proxy auth"},
	{Name: "proxy-password-secret", Type: option.String, Help: "ID of secret used as password for HTTP proxy auth"},
}

func open(ctx context.Context, driver string, a formats.OpenArgs) (formats.Image, error) {
	if a.Flags.Has(formats.ReadWrite) {
		return nil, qerr.New(syscall.EROFS, "curl driver does not support writes")
	}
	d := &image{driver: driver, report: a.Env.ReportError}
	if err := d.options(a); err != nil {
		return nil, err
	}
	if err := d.inspect(ctx); err != nil {
		return nil, err
	}
	return d, nil
}

// options reads the runtime options, in the order in which QEMU complains.
func (d *image) options(a formats.OpenArgs) error {
	v := a.Options
	ahead, timeout := v.Uint("readahead", defaultReadahead), v.Uint("timeout", defaultTimeout)
	if ahead%512 != 0 {
		return qerr.New(syscall.EINVAL, "HTTP_READAHEAD_SIZE %d is not a multiple of 512", ahead)
	}
	if timeout > maxTimeout {
		return qerr.New(syscall.EINVAL, "timeout parameter is too large or negative")
	}
	if v.Has("cookie") && v.Has("cookie-secret") {
		return qerr.New(syscall.EINVAL, "curl driver cannot handle both cookie and cookie secret")
	}
	d.url = v.String("url", "")
	if !v.Has("url") {
		return qerr.New(syscall.EINVAL, "curl block driver requires an 'url' option")
	}
	if !strings.HasPrefix(d.url, d.driver+"://") {
		return qerr.New(syscall.EINVAL, "%s curl driver cannot handle the URL '%s' (does not start with '%s://')", d.driver, d.url, d.driver)
	}
	if u, err := url.Parse(d.url); err != nil || u.Host == "" || strings.Contains(d.url, " ") {
		return openError("URL using bad/illegal format or missing URL")
	}
	d.piece = int64(min(max(ahead, 64<<10), maxReadahead))
	return d.credentials(a, time.Duration(timeout)*time.Second)
}

// credentials reads secrets and sets up the client.
func (d *image) credentials(a formats.OpenArgs, timeout time.Duration) error {
	v := a.Options
	secret := func(name string) (string, error) {
		if id := v.String(name, ""); id != "" {
			b, err := a.Env.Secret(id)
			return string(b), err
		}
		return "", nil
	}
	var proxyPassword string
	var err error
	if d.cookie = v.String("cookie", ""); d.cookie == "" {
		if d.cookie, err = secret("cookie-secret"); err != nil {
			return err
		}
	}
	d.user = v.String("username", "")
	if d.password, err = secret("password-secret"); err != nil {
		return err
	}
	if proxyPassword, err = secret("proxy-password-secret"); err != nil {
		return err
	}
	proxyUser := v.String("proxy-username", "")
	d.verify, d.proxied = v.Bool("sslverify", true), proxyUser != "" || proxyPassword != ""
	d.client = newClient(d.verify, timeout, proxyUser, proxyPassword)
	return nil
}

func newClient(verify bool, timeout time.Duration, proxyUser, proxyPassword string) *http.Client {
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		TLSClientConfig:       &tls.Config{InsecureSkipVerify: !verify},
		DialContext:           (&net.Dialer{Timeout: timeout}).DialContext,
		ResponseHeaderTimeout: timeout,
		MaxIdleConnsPerHost:   8,
		DisableCompression:    true,
	}
	if proxyUser != "" {
		t.Proxy = func(r *http.Request) (*url.URL, error) {
			u, err := http.ProxyFromEnvironment(r)
			if u != nil && err == nil {
				u.User = url.UserPassword(proxyUser, proxyPassword)
			}
			return u, err
		}
	}
	return &http.Client{Transport: t}
}

// openError is the form in which QEMU tells why a URL cannot be opened.
func openError(format string, a ...any) error {
	return qerr.New(syscall.EINVAL, "CURL: Error opening file: "+format, a...)
}

// dialText is curl's text for a failed connection.
func dialText(err error, u *url.URL) string {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return "Could not resolve host: " + u.Hostname()
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "Failed to connect to " + u.Hostname() + " port " + port + " after 0 ms: Couldn't connect to server"
	}
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	switch {
	case errors.Is(err, io.EOF):
		return "Empty reply from server"
	case errors.Is(err, http.ErrSchemeMismatch):
		return "gnutls_handshake() failed: An unexpected TLS packet was received."
	case errors.As(err, &unknown):
		return "server certificate verification failed. CAfile: none CRLfile: none"
	case errors.As(err, &name):
		return "SSL: certificate subject name (" + name.Certificate.Subject.CommonName + ") does not match target hostname '" + name.Host + "'"
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return err.Error()
}
