package nbd

import (
	"strings"
	"syscall"

	"platter/formats/option"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// address is where a server listens, and what is asked of it.
type address struct {
	kind       string // inet, unix, fd
	host, port string
	ipv4, ipv6 string // "on", "off", "" if not said
	keepAlive  bool
	path       string
	abstract   bool // a Unix socket without a file, with trailing NULs unless tight
	loose      bool
	fd         int
	export     string
}

// field is a member of a socket address: s for a text, b for a boolean, n for a number.
type field struct {
	name string
	typ  byte
	must bool
}

var socketFields = map[string][]field{
	"inet": {{"host", 's', true}, {"port", 's', true}, {"numeric", 'b', false}, {"to", 'n', false}, {"ipv4", 'b', false},
		{"ipv6", 'b', false}, {"keep-alive", 'b', false}, {"mptcp", 'b', false}},
	"unix":  {{"path", 's', true}, {"abstract", 'b', false}, {"tight", 'b', false}},
	"vsock": {{"cid", 's', true}, {"port", 's', true}},
	"fd":    {{"str", 's', true}},
}

// addressOf reads the runtime options; host, port and path are the older form of server.*.
func addressOf(v *option.Values) (address, error) {
	a := address{export: v.String("export", "")}
	if len(a.export) > maxName {
		return a, qerr.New(syscall.EINVAL, "export name too long to send to server")
	}
	if len(v.String("x-dirty-bitmap", "")) > maxName {
		return a, qerr.New(syscall.EINVAL, "x-dirty-bitmap query too long to send to server")
	}
	server := map[string]string{}
	for _, k := range v.Names() {
		if name, ok := strings.CutPrefix(k, "server."); ok {
			server[name], _ = v.Raw(k)
		}
	}
	path, host, hasPath, hasHost := v.String("path", ""), v.String("host", ""), v.Has("path"), v.Has("host")
	older := hasPath || hasHost || v.Has("port")
	switch {
	case hasPath && hasHost:
		return a, qerr.New(syscall.EINVAL, "path and host may not be used at the same time")
	case !hasPath && !hasHost && v.Has("port"):
		return a, qerr.New(syscall.EINVAL, "NBD server address missing")
	case older && len(server) > 0:
		return a, qerr.New(syscall.EINVAL, "Cannot use 'server' and path/host/port at the same time")
	case hasPath:
		a.kind, a.path = "unix", path
	case hasHost:
		a.kind, a.host, a.port = "inet", host, v.String("port", defaultPort)
	case len(server) == 0:
		return a, qerr.New(syscall.EINVAL, "NBD server address missing")
	default:
		return a, a.socket(server)
	}
	return a, nil
}

// socket reads a socket address and complains about its members as QEMU's schema does.
func (a *address) socket(server map[string]string) error {
	kind, ok := server["type"]
	if !ok {
		return qerr.New(syscall.EINVAL, "Parameter 'type' is missing")
	}
	fields, ok := socketFields[kind]
	if !ok {
		return qerr.New(syscall.EINVAL, "Parameter 'type' does not accept value '%s'", kind)
	}
	d := qobj.NewDict()
	for k, v := range server {
		d.Set(k, v)
	}
	d.Delete("type")
	var schema option.Schema
	for _, f := range fields {
		typ := map[byte]option.Type{'s': option.String, 'b': option.Bool, 'n': option.Number}[f.typ]
		schema = append(schema, option.Opt{Name: f.name, Type: typ})
		text, ok := d.String(f.name)
		switch {
		case !ok && f.must:
			return qerr.New(syscall.EINVAL, "Parameter '%s' is missing", f.name)
		case ok && f.typ == 'n' && strings.Trim(text, "0123456789") != "":
			return qerr.New(syscall.EINVAL, "Parameter '%s' expects integer", f.name)
		}
	}
	v, err := option.FromDict(schema, d)
	if err != nil {
		return err
	}
	if left := d.Keys(); len(left) > 0 {
		return qerr.New(syscall.EINVAL, "Parameter '%s' is unexpected", left[0])
	}
	a.kind, a.host, a.port, a.path = kind, v.String("host", ""), v.String("port", ""), v.String("path", "")
	a.ipv4, _ = v.Raw("ipv4")
	a.ipv6, _ = v.Raw("ipv6")
	a.keepAlive = v.Bool("keep-alive", false)
	a.abstract, a.loose = v.Bool("abstract", false), !v.Bool("tight", true)
	return a.handle(v)
}

// handle reads the addresses that are no names.
func (a *address) handle(v *option.Values) error {
	switch a.kind {
	case "vsock":
		return qerr.New(syscall.ENOTSUP, "vsock addresses are not supported")
	case "fd":
		text := v.String("str", "")
		n, err := option.ParseUint(text)
		if err != nil || n > 1<<20 {
			return qerr.New(syscall.EINVAL, "Unable to parse FD number %s", text)
		}
		var st syscall.Stat_t
		if syscall.Fstat(int(n), &st) != nil || st.Mode&syscall.S_IFMT != syscall.S_IFSOCK {
			return qerr.New(syscall.EINVAL, "File descriptor '%s' is not a socket", text)
		}
		a.fd = int(n)
	}
	return nil
}

// String is the address as messages show it.
func (a address) String() string {
	switch a.kind {
	case "unix":
		return a.path
	case "fd":
		return "fd:" + string(rune('0'+a.fd%10))
	}
	return a.host + ":" + a.port
}

// uri is the name that opens the export again, "" if there is none.
func (a address) uri() string {
	switch {
	case a.kind == "unix" && a.export != "":
		return "nbd+unix:///" + a.export + "?socket=" + a.path
	case a.kind == "unix":
		return "nbd+unix://?socket=" + a.path
	case a.kind == "fd":
		return ""
	case a.export != "":
		return "nbd://" + a.host + ":" + a.port + "/" + a.export
	}
	return "nbd://" + a.host + ":" + a.port
}
