package nbd

import (
	"context"
	"crypto/tls"
	"strings"
	"syscall"
	"time"

	"platter/formats"
	"platter/formats/crypt/tlscreds"
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
	if !strings.HasPrefix(kind, "tls-creds-") {
		return nil, qerr.New(syscall.EINVAL, "Object with id '%s' is not TLS credentials", id)
	}
	if end, _ := d.String("endpoint"); end == "server" {
		return nil, qerr.New(syscall.EINVAL, "Expected TLS credentials for a client endpoint")
	}
	if kind != "tls-creds-x509" {
		return nil, qerr.New(syscall.ENOTSUP, "TLS credentials '%s' of type '%s' cannot be used: certificates (tls-creds-x509) can, "+
			"shared keys and anonymous connections are not supported", id, kind)
	}
	dir, _ := d.String("dir")
	creds, err := tlscreds.Load(dir, "client", false) // looked at when the object was made
	if err != nil {
		return nil, err
	}
	verify, given := d.Get("verify-peer")
	return creds.Config(a.Options.String("tls-hostname", addr.host), !given || verify == true || verify == "on" || verify == "yes"), nil
}
