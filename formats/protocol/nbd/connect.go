package nbd

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"platter/formats/qerr"
)

// pause lies between two attempts to connect.
const pause = 100 * time.Millisecond

// target is all that it takes to connect: once when the image is opened, and again when the connection breaks.
type target struct {
	addr address
	meta string // metadata context to ask for
	tls  *tls.Config
}

// connect reaches the export; what fails for want of a server is tried again until wait is over.
func (t target) connect(ctx context.Context, wait time.Duration) (*session, error) {
	for end := time.Now().Add(wait); ; {
		s, err := t.once(ctx)
		if err == nil || ctx.Err() != nil || !time.Now().Before(end) {
			return s, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(min(pause, time.Until(end))):
		}
	}
}

func (t target) once(ctx context.Context) (*session, error) {
	c, err := t.addr.dial(ctx)
	if err != nil {
		return nil, err
	}
	s, err := handshake(ctx, c, t.addr.export, t.meta, t.tls)
	if err != nil {
		c.Close()
		return nil, err
	}
	return s, nil
}

func (a address) dial(ctx context.Context) (net.Conn, error) {
	if a.kind == "fd" {
		f := os.NewFile(uintptr(a.fd), "socket")
		defer f.Close()
		return net.FileConn(f)
	}
	network, where := "tcp", net.JoinHostPort(a.host, a.port)
	switch {
	case a.kind == "unix":
		network, where = "unix", a.socketName()
	case a.ipv4 == "off" || a.ipv6 == "on" && a.ipv4 == "":
		network = "tcp6"
	case a.ipv6 == "off" || a.ipv4 == "on" && a.ipv6 == "":
		network = "tcp4"
	}
	d := net.Dialer{KeepAlive: -1}
	if a.keepAlive {
		d.KeepAlive = 0
	}
	c, err := d.DialContext(ctx, network, where)
	if err != nil {
		return nil, dialError(err, a)
	}
	return c, nil
}

// socketName is the path as the net package wants it: an abstract name begins with @. QEMU takes an empty path for the
// abstract name that is empty.
func (a address) socketName() string {
	const room = 107 // of sun_path, without its first byte
	switch {
	case a.abstract && a.loose && len(a.path) < room:
		return "@" + a.path + strings.Repeat("\x00", room-len(a.path))
	case a.abstract, a.path == "":
		return "@" + a.path
	}
	return a.path
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
