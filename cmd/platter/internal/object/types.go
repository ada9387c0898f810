package object

import (
	"strings"

	"platter/formats/option"
)

// kind is a type of object.
type kind struct {
	name  string
	props []prop // by name
}

type prop struct {
	name, typ string // the type as help shows it
	must      bool
	list      bool     // a list of typ
	choices   []string // of an enumeration
}

var (
	secretFormats = []string{"raw", "base64"}
	tlsEnds       = []string{"client", "server"}
)

var kinds = []kind{
	{"authz-list", []prop{{name: "policy", typ: "QAuthZListPolicy", choices: []string{"deny", "allow"}},
		{name: "rules", typ: "QAuthZListRule"}}},
	{"authz-list-file", []prop{{name: "filename", typ: "string", must: true}, {name: "refresh", typ: "bool"}}},
	{"authz-simple", []prop{{name: "identity", typ: "string", must: true}}},
	{"main-loop", []prop{{name: "aio-max-batch", typ: "int"}, {name: "thread-pool-max", typ: "int"},
		{name: "thread-pool-min", typ: "int"}}},
	{"pr-manager-helper", []prop{{name: "path", typ: "string", must: true}}},
	{"secret", []prop{{name: "data", typ: "string"}, {name: "file", typ: "string"},
		{name: "format", typ: "QCryptoSecretFormat", choices: secretFormats}, {name: "iv", typ: "string"},
		{name: "keyid", typ: "string"}}},
	{"secret_keyring", []prop{{name: "format", typ: "QCryptoSecretFormat", choices: secretFormats},
		{name: "iv", typ: "string"}, {name: "keyid", typ: "string"}, {name: "serial", typ: "int32_t", must: true}}},
	{"thread-context", []prop{{name: "cpu-affinity", typ: "int", list: true}, {name: "node-affinity", typ: "int", list: true}}},
	{"throttle-group", throttleProps()},
	{"tls-creds-anon", tlsProps()},
	{"tls-creds-psk", tlsProps(prop{name: "username", typ: "string"})},
	{"tls-creds-x509", []prop{{name: "dir", typ: "string"},
		{name: "endpoint", typ: "QCryptoTLSCredsEndpoint", choices: tlsEnds}, {name: "passwordid", typ: "string"},
		{name: "priority", typ: "string"}, {name: "sanity-check", typ: "bool"}, {name: "verify-peer", typ: "bool"}}},
}

func tlsProps(more ...prop) []prop {
	p := []prop{{name: "dir", typ: "string"}, {name: "endpoint", typ: "QCryptoTLSCredsEndpoint", choices: tlsEnds},
		{name: "priority", typ: "string"}}
	return append(append(p, more...), prop{name: "verify-peer", typ: "bool"})
}

func throttleProps() []prop {
	p := []prop{{name: "limits", typ: "ThrottleLimits"}}
	for _, kind := range []string{"bps-read", "bps-total", "bps-write", "iops-read", "iops-size", "iops-total", "iops-write"} {
		if kind != "iops-size" {
			p = append(p, prop{name: "x-" + kind + "-max-length", typ: "int"}, prop{name: "x-" + kind + "-max", typ: "int"})
		}
		p = append(p, prop{name: "x-" + kind, typ: "int"})
	}
	return p
}

// strangers are types that the definition's grammar knows and no program of this kind can make.
var strangers = strings.Fields("can-bus cryptodev-backend cryptodev-backend-builtin cryptodev-backend-lkcf iommufd iothread " +
	"pef-guest rng-builtin rng-random s390-pv-guest memory-backend-ram memory-backend-memfd memory-backend-shm")

func findKind(name string) *kind {
	for i := range kinds {
		if kinds[i].name == name {
			return &kinds[i]
		}
	}
	return nil
}

// helpText is what is printed for a definition that asks for help, "" if it does not.
func helpText(spec string) string {
	if strings.HasPrefix(spec, "{") || !option.HasHelp(spec) {
		return ""
	}
	first, _, _ := strings.Cut(spec, ",")
	var b strings.Builder
	if t := findKind(strings.TrimPrefix(first, "qom-type=")); t != nil {
		b.WriteString(t.name + " options:\n")
		for _, p := range t.props {
			b.WriteString("  " + p.name + "=<" + p.typ + ">\n")
		}
		return b.String()
	}
	b.WriteString("List of user creatable objects:\n")
	for _, t := range kinds {
		b.WriteString("  " + t.name + "\n")
	}
	return b.String()
}
