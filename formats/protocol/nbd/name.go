package nbd

import (
	"net/url"
	"strconv"
	"strings"
	"syscall"

	"platter/formats/option"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

const defaultPort = "10809"

// address is where a server listens, and what is asked of it.
type address struct {
	path       string // Unix socket; "" for TCP
	host, port string
	export     string
	tls        bool
}

// parseName turns nbd://, nbd+tcp://, nbd+unix:// and the old nbd:… names into runtime options.
func parseName(name string, into *qobj.Dict) error {
	for _, k := range []string{"host", "port", "path"} {
		if into.Has(k) {
			return qerr.New(syscall.EINVAL, "host/port/path and file names may not be specified at the same time")
		}
	}
	into.Delete("filename")
	if strings.Contains(name, "://") {
		return parseURI(name, into)
	}
	rest, ok := strings.CutPrefix(name, "nbd:")
	if !ok {
		return qerr.New(syscall.EINVAL, "File name string for new protocols must start with 'nbd:'")
	}
	if addr, export, ok := strings.Cut(rest, ":exportname="); ok {
		if export == "" {
			return nil
		}
		rest = addr
		into.Set("export", export)
	}
	if rest == "" {
		return nil
	}
	if path, ok := strings.CutPrefix(rest, "unix:"); ok {
		into.Set("server.type", "unix")
		into.Set("server.path", path)
		return nil
	}
	return parseHostPort(rest, into)
}

func parseHostPort(s string, into *qobj.Dict) error {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return qerr.New(syscall.EINVAL, "error parsing address '%s'", s)
	}
	host := strings.TrimSuffix(strings.TrimPrefix(s[:i], "["), "]")
	into.Set("server.type", "inet")
	into.Set("server.host", host)
	into.Set("server.port", s[i+1:])
	return nil
}

func parseURI(name string, into *qobj.Dict) error {
	bad := qerr.New(syscall.EINVAL, "No valid URL specified")
	u, err := url.Parse(name)
	if err != nil || u.User != nil {
		return bad
	}
	if export := strings.TrimPrefix(u.Path, "/"); export != "" {
		into.Set("export", export)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return bad
	}
	switch u.Scheme {
	case "nbd+unix":
		if u.Host != "" || len(query) != 1 || query.Get("socket") == "" {
			return bad
		}
		into.Set("server.type", "unix")
		into.Set("server.path", query.Get("socket"))
	default:
		port := u.Port()
		if port == "" {
			port = defaultPort
		}
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 || u.Hostname() == "" || len(query) > 0 {
			return bad
		}
		into.Set("server.type", "inet")
		into.Set("server.host", u.Hostname())
		into.Set("server.port", port)
	}
	return nil
}

// addressOf reads the runtime options; host, port and path are the older form of server.*.
func addressOf(v *option.Values) (address, error) {
	a := address{export: v.String("export", ""), tls: v.Has("tls-creds")}
	path, host := v.String("path", ""), v.String("host", "")
	if path != "" && host != "" {
		return a, qerr.New(syscall.EINVAL, "path and host may not be used at the same time")
	}
	switch kind := v.String("server.type", ""); {
	case path != "":
		a.path = path
	case host != "":
		a.host, a.port = host, v.String("port", defaultPort)
	case kind == "unix":
		a.path = v.String("server.path", "")
	case kind == "inet":
		a.host, a.port = v.String("server.host", ""), v.String("server.port", "")
	case kind != "":
		return a, qerr.New(syscall.EINVAL, "Parameter 'server.type' does not accept value '%s'", kind)
	}
	if a.path == "" && a.host == "" {
		return a, qerr.New(syscall.EINVAL, "NBD server address missing")
	}
	if len(a.export) > maxName {
		return a, qerr.New(syscall.EINVAL, "export name too long to send to server")
	}
	return a, nil
}

// String is the address as messages show it.
func (a address) String() string {
	if a.path != "" {
		return a.path
	}
	return a.host + ":" + a.port
}

// uri is the name that opens the export again.
func (a address) uri() string {
	if a.path != "" {
		return "nbd+unix:///" + a.export + "?socket=" + a.path
	}
	s := "nbd://" + a.host + ":" + a.port
	if a.export != "" {
		s += "/" + a.export
	}
	return s
}
