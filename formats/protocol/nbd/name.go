package nbd

import (
	"net/url"
	"strconv"
	"strings"
	"syscall"

	"platter/formats/qerr"
	"platter/formats/qobj"
)

const defaultPort = "10809"

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
	name, export, hasExport := strings.Cut(name, ":exportname=")
	if hasExport && export == "" {
		return nil
	}
	if hasExport {
		into.Set("export", export)
	}
	rest, ok := strings.CutPrefix(name, "nbd:")
	if !ok {
		return qerr.New(syscall.EINVAL, "File name string for NBD must start with 'nbd:'")
	}
	if rest == "" {
		return nil
	}
	if path, ok := strings.CutPrefix(rest, "unix:"); ok {
		into.Set("server.type", "unix")
		into.Set("server.path", path)
		return nil
	}
	return parseInet(rest, into)
}

// parseInet reads HOST:PORT[,option…]; an address that is not a name stands in brackets.
func parseInet(s string, into *qobj.Dict) error {
	addr, opts, _ := strings.Cut(s, ",")
	host, port, ok := strings.Cut(addr, ":")
	if strings.HasPrefix(addr, "[") {
		if host, port, ok = strings.Cut(addr[1:], "]:"); !ok || host == "" {
			return qerr.New(syscall.EINVAL, "error parsing IPv6 address '%s'", s)
		}
	}
	if !ok || port == "" {
		return qerr.New(syscall.EINVAL, "error parsing address '%s'", s)
	}
	into.Set("server.type", "inet")
	into.Set("server.host", host)
	into.Set("server.port", port)
	for _, flag := range []string{"ipv4", "ipv6"} {
		for _, o := range strings.Split(opts, ",") {
			if value, ok := strings.CutPrefix(o, flag); ok {
				if value != "" && value != "=on" && value != "=off" {
					return qerr.New(syscall.EINVAL, "error parsing '%s' flag '%s'", flag, value)
				}
				into.Set("server."+flag, value != "=off")
				break
			}
		}
	}
	return nil
}

var errURL = qerr.New(syscall.EINVAL, "No valid URL specified")

// splitURI takes a URI apart more leniently than net/url: QEMU's library passes blanks, and says nothing about escapes
// in a host.
func splitURI(name string) (scheme, host, path, query string, err error) {
	scheme, rest, _ := strings.Cut(name, "://")
	rest, _, _ = strings.Cut(rest, "#")
	rest, query, _ = strings.Cut(rest, "?")
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		rest, path = rest[:i], rest[i:]
	}
	for _, p := range []*string{&rest, &path} {
		s, err := url.PathUnescape(*p)
		if err != nil || strings.ContainsRune(s, 0) {
			return "", "", "", "", errURL
		}
		*p = s
	}
	return scheme, rest[strings.LastIndexByte(rest, '@')+1:], path, query, nil
}

func parseURI(name string, into *qobj.Dict) error {
	scheme, host, path, rawQuery, err := splitURI(name)
	if err != nil {
		return err
	}
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return errURL
	}
	if export := strings.TrimPrefix(path, "/"); export != "" {
		into.Set("export", export)
	}
	if scheme == "nbd+unix" {
		if host != "" || len(query) != 1 || !query.Has("socket") {
			return errURL
		}
		into.Set("server.type", "unix")
		into.Set("server.path", query.Get("socket"))
		return nil
	}
	host, port, err := splitHost(host)
	if err != nil || len(query) > 0 {
		return errURL
	}
	into.Set("server.type", "inet")
	into.Set("server.host", host)
	into.Set("server.port", port)
	return nil
}

// splitHost takes the port off; none, or 0, is NBD's own.
func splitHost(s string) (host, port string, err error) {
	host = s
	if rest, ok := strings.CutPrefix(s, "["); ok {
		if host, s, ok = strings.Cut(rest, "]"); !ok || s != "" && s[0] != ':' {
			return "", "", errURL
		}
		port = strings.TrimPrefix(s, ":")
	} else {
		host, port, _ = strings.Cut(s, ":")
	}
	if port == "" {
		port = "0"
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 0 || n > 65535 || host == "" {
		return "", "", errURL
	}
	if n == 0 {
		return host, defaultPort, nil
	}
	return host, strconv.Itoa(n), nil
}
