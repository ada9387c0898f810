package nbd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"platter/formats"
	"platter/formats/option"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// Driver is the nbd protocol.
func Driver() *formats.Driver {
	text := func(names ...string) (s option.Schema) {
		for _, n := range names {
			s = append(s, option.Opt{Name: n, Type: option.String})
		}
		return s
	}
	return &formats.Driver{
		Name: "nbd", Kind: formats.Protocol, Schemes: []string{"nbd", "nbd+tcp", "nbd+unix"},
		OpenOpts: append(text("host", "port", "path", "export", "tls-creds", "tls-hostname", "server.", "x-dirty-bitmap"),
			option.Opt{Name: "reconnect-delay", Type: option.Number}, option.Opt{Name: "open-timeout", Type: option.Number}),
		StrongOpts: []string{"path", "host", "port", "export", "tls-creds", "tls-hostname", "server."},
		CreateOpts: option.Schema{
			{Name: "size", Type: option.Size, Help: "Virtual disk size"},
			{Name: "preallocation", Type: option.String, Help: "Preallocation mode (allowed values: off)"},
		},
		ParseName: parseName,
		Open:      open,
	}
}

func open(ctx context.Context, a formats.OpenArgs) (formats.Image, error) {
	addr, err := addressOf(a.Options)
	if err != nil {
		return nil, err
	}
	config, err := tlsConfig(a, addr)
	if err != nil {
		return nil, err
	}
	to := target{addr: addr, meta: baseAllocation, tls: config}
	if a.Options.Has("x-dirty-bitmap") {
		to.meta = a.Options.String("x-dirty-bitmap", "")
	}
	s, err := to.connect(ctx, time.Duration(a.Options.Uint("open-timeout", 0))*time.Second)
	if err != nil {
		return nil, err
	}
	if a.Options.Has("x-dirty-bitmap") && !s.hasMeta {
		s.conn.Close()
		return nil, qerr.New(syscall.EINVAL, "Could not open image: %s", qerr.Strerror(syscall.EINVAL))
	}
	if s.flags&flagReadOnly != 0 && a.Flags.Has(formats.ReadWrite) {
		s.conn.Close()
		if a.Flags.Has(formats.AutoReadOnly) {
			return nil, qerr.New(syscall.EPERM, "Block node is read-only")
		}
		return nil, qerr.New(syscall.EACCES, "Could not open image: %s", qerr.Strerror(syscall.EACCES))
	}
	d := &image{to: to, dirty: a.Options.Has("x-dirty-bitmap"), size: s.size, flags: s.flags,
		patience: time.Duration(a.Options.Uint("reconnect-delay", 0)) * time.Second}
	d.conn.Store(newClient(s))
	return d, nil
}

// tlsConfig reads the certificates of tls-creds; nil without it.
func tlsConfig(a formats.OpenArgs, addr address) (*tls.Config, error) {
	id := a.Options.String("tls-creds", "")
	if id == "" {
		return nil, nil
	}
	obj, ok := a.Env.Object(id)
	if !ok {
		return nil, qerr.New(syscall.EINVAL, "No TLS credentials with id '%s'", id)
	}
	d, _ := obj.(*qobj.Dict)
	kind, _ := d.String("qom-type")
	if kind != "tls-creds-x509" {
		return nil, qerr.New(syscall.ENOTSUP, "TLS credentials '%s' of type '%s' cannot be used; tls-creds-x509 can", id, kind)
	}
	if end, _ := d.String("endpoint"); end == "server" {
		return nil, qerr.New(syscall.EINVAL, "Expected TLS credentials for a client endpoint")
	}
	host := a.Options.String("tls-hostname", addr.host)
	if host == "" {
		host = "localhost"
	}
	dir, _ := d.String("dir")
	verify, given := d.Get("verify-peer")
	return loadTLS(dir, host, !given || verify == true || verify == "on" || verify == "yes")
}

func loadTLS(dir, host string, verify bool) (*tls.Config, error) {
	pem, err := os.ReadFile(filepath.Join(dir, "ca-cert.pem"))
	if err != nil {
		return nil, qerr.Errno(qerr.Of(err), "Unable to access credentials %s", filepath.Join(dir, "ca-cert.pem"))
	}
	c := &tls.Config{ServerName: host, RootCAs: x509.NewCertPool(), InsecureSkipVerify: !verify, MinVersion: tls.VersionTLS12}
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, qerr.New(syscall.EINVAL, "Unable to import certificate %s", filepath.Join(dir, "ca-cert.pem"))
	}
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "client-cert.pem"), filepath.Join(dir, "client-key.pem"))
	switch {
	case err == nil:
		c.Certificates = []tls.Certificate{cert}
	case !errors.Is(err, os.ErrNotExist):
		return nil, qerr.New(syscall.EINVAL, "Unable to load the client certificate in '%s': %s", dir, err)
	}
	return c, nil
}
