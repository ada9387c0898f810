package nbd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
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
		OpenOpts: append(text("host", "port", "path", "export", "tls-creds", "tls-hostname", "server.type", "server.host",
			"server.port", "server.path", "x-dirty-bitmap"),
			option.Opt{Name: "open-timeout", Type: option.Number}),
		StrongOpts: []string{"path", "host", "port", "export", "tls-creds", "tls-hostname", "server."},
		CreateOpts: option.Schema{
			{Name: "size", Type: option.Size, Help: "Virtual disk size"},
			{Name: "preallocation", Type: option.String, Help: "Preallocation mode (allowed values: off)"},
		},
		ParseName: parseName,
		Open:      open,
		Create:    create,
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
	c, err := dial(ctx, addr, time.Duration(a.Options.Uint("open-timeout", 0))*time.Second)
	if err != nil {
		return nil, err
	}
	contextName := baseAllocation
	if b := a.Options.String("x-dirty-bitmap", ""); b != "" {
		contextName = b
	}
	s, err := handshake(ctx, c, addr.export, contextName, config)
	if err != nil {
		c.Close()
		return nil, err
	}
	if s.flags&flagReadOnly != 0 && a.Flags.Has(formats.ReadWrite) && !a.Flags.Has(formats.AutoReadOnly) {
		s.conn.Close()
		return nil, qerr.New(syscall.EACCES, "request on write denied without write permission")
	}
	return newImage(addr, s, a.Options.Has("x-dirty-bitmap")), nil
}

// dial connects; with a timeout it goes on trying until that is over.
func dial(ctx context.Context, a address, wait time.Duration) (net.Conn, error) {
	network, where := "tcp", net.JoinHostPort(a.host, a.port)
	if a.path != "" {
		network, where = "unix", a.path
	}
	d := net.Dialer{}
	for end := time.Now().Add(wait); ; {
		c, err := d.DialContext(ctx, network, where)
		if err == nil {
			return c, nil
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return nil, dialError(err, a)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func dialError(err error, a address) error {
	var dns *net.DNSError
	var bad *net.AddrError
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno):
		return qerr.Errno(errno, "Failed to connect to '%s'", a)
	case errors.As(err, &dns) && dns.Name != a.host || errors.As(err, &bad):
		return qerr.New(syscall.EINVAL, "address resolution failed for %s: Servname not supported for ai_socktype", a)
	case errors.As(err, &dns):
		return qerr.New(syscall.EINVAL, "address resolution failed for %s: Name or service not known", a)
	}
	return qerr.New(syscall.EIO, "Failed to connect to '%s': %s", a, err)
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

// create checks that the export is there and large enough: nothing can be made on a server.
func create(ctx context.Context, a formats.CreateArgs) error {
	if p := a.Options.String("preallocation", "off"); p != "off" {
		return qerr.New(syscall.ENOTSUP, "Unsupported preallocation mode: %s", p)
	}
	d := qobj.NewDict()
	if err := parseName(a.Name, d); err != nil {
		return err
	}
	v, err := option.FromDict(Driver().OpenOpts, d)
	if err != nil {
		return err
	}
	img, err := open(ctx, formats.OpenArgs{Name: a.Name, Options: v, Env: a.Env})
	if err != nil {
		return err
	}
	defer img.Close()
	if img.Size() < a.Size {
		return qerr.New(syscall.ENOTSUP, "Cannot grow NBD nodes")
	}
	return nil
}
