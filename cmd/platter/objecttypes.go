package main

import (
	"strings"
	"syscall"

	"platter/formats/option"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// objectType is what a user-creatable object may have.
type objectType struct {
	name  string
	props []objectProp // by name
}

type objectProp struct {
	name, typ string // the type as help shows it
	must      bool
	choices   []string // of an enumeration
}

var (
	secretFormats = []string{"raw", "base64"}
	tlsEnds       = []string{"client", "server"}
)

var objectTypes = []objectType{
	{"authz-list", []objectProp{{name: "policy", typ: "QAuthZListPolicy", choices: []string{"deny", "allow"}},
		{name: "rules", typ: "QAuthZListRule"}}},
	{"authz-list-file", []objectProp{{name: "filename", typ: "string", must: true}, {name: "refresh", typ: "bool"}}},
	{"authz-simple", []objectProp{{name: "identity", typ: "string", must: true}}},
	{"main-loop", []objectProp{{name: "aio-max-batch", typ: "int"}, {name: "thread-pool-max", typ: "int"},
		{name: "thread-pool-min", typ: "int"}}},
	{"pr-manager-helper", []objectProp{{name: "path", typ: "string", must: true}}},
	{"secret", []objectProp{{name: "data", typ: "string"}, {name: "file", typ: "string"},
		{name: "format", typ: "QCryptoSecretFormat", choices: secretFormats}, {name: "iv", typ: "string"},
		{name: "keyid", typ: "string"}}},
	{"secret_keyring", []objectProp{{name: "format", typ: "QCryptoSecretFormat", choices: secretFormats},
		{name: "iv", typ: "string"}, {name: "keyid", typ: "string"}, {name: "serial", typ: "int32_t", must: true}}},
	{"thread-context", []objectProp{{name: "cpu-affinity", typ: "int"}, {name: "node-affinity", typ: "int"}}},
	{"throttle-group", throttleProps()},
	{"tls-creds-anon", tlsProps()},
	{"tls-creds-psk", tlsProps(objectProp{name: "username", typ: "string"})},
	{"tls-creds-x509", []objectProp{{name: "dir", typ: "string"},
		{name: "endpoint", typ: "QCryptoTLSCredsEndpoint", choices: tlsEnds}, {name: "passwordid", typ: "string"},
		{name: "priority", typ: "string"}, {name: "sanity-check", typ: "bool"}, {name: "verify-peer", typ: "bool"}}},
}

func tlsProps(more ...objectProp) []objectProp {
	p := []objectProp{{name: "dir", typ: "string"}, {name: "endpoint", typ: "QCryptoTLSCredsEndpoint", choices: tlsEnds},
		{name: "priority", typ: "string"}}
	return append(append(p, more...), objectProp{name: "verify-peer", typ: "bool"})
}

func throttleProps() []objectProp {
	p := []objectProp{{name: "limits", typ: "ThrottleLimits"}}
	for _, kind := range []string{"bps-read", "bps-total", "bps-write", "iops-read", "iops-size", "iops-total", "iops-write"} {
		if kind != "iops-size" {
			p = append(p, objectProp{name: "x-" + kind + "-max-length", typ: "int"}, objectProp{name: "x-" + kind + "-max", typ: "int"})
		}
		p = append(p, objectProp{name: "x-" + kind, typ: "int"})
	}
	return p
}

func findObjectType(name string) *objectType {
	for i := range objectTypes {
		if objectTypes[i].name == name {
			return &objectTypes[i]
		}
	}
	return nil
}

// objectHelp is what is printed for a definition that asks for help, "" if it does not.
func objectHelp(spec string) string {
	if strings.HasPrefix(spec, "{") || !option.HasHelp(spec) {
		return ""
	}
	first, _, _ := strings.Cut(spec, ",")
	var b strings.Builder
	if t := findObjectType(strings.TrimPrefix(first, "qom-type=")); t != nil {
		b.WriteString(t.name + " options:\n")
		for _, p := range t.props {
			b.WriteString("  " + p.name + "=<" + p.typ + ">\n")
		}
		return b.String()
	}
	b.WriteString("List of user creatable objects:\n")
	for _, t := range objectTypes {
		b.WriteString("  " + t.name + "\n")
	}
	return b.String()
}

// checkObject checks a definition against its type and gives the id.
func checkObject(d *qobj.Dict) (id string, err error) {
	name, err := objectString(d, "qom-type")
	if err != nil {
		return "", err
	}
	t := findObjectType(name)
	if t == nil || t.name == "authz-list-file" {
		return "", qerr.New(syscall.EINVAL, "Parameter 'qom-type' does not accept value '%s'", name)
	}
	if id, err = objectString(d, "id"); err != nil {
		return "", err
	}
	for _, p := range t.props {
		if err := p.check(d); err != nil {
			return "", err
		}
	}
	for key := range d.All() {
		if key != "qom-type" && key != "id" && t.prop(key) == nil {
			return "", unexpected(d, key)
		}
	}
	return id, nil
}

func unexpected(d *qobj.Dict, key string) error {
	if _, nested := d.Dict(key); nested {
		return qerr.New(syscall.EINVAL, "Parameters '%s.*' are unexpected", key)
	}
	return qerr.New(syscall.EINVAL, "Parameter '%s' is unexpected", key)
}

func objectString(d *qobj.Dict, key string) (string, error) {
	v, ok := d.Get(key)
	if !ok {
		return "", qerr.New(syscall.EINVAL, "Parameter '%s' is missing", key)
	}
	s, ok := v.(string)
	if !ok {
		return "", qerr.New(syscall.EINVAL, "Invalid parameter type for '%s', expected: string", key)
	}
	return s, nil
}

func (t *objectType) prop(name string) *objectProp {
	for i := range t.props {
		if t.props[i].name == name {
			return &t.props[i]
		}
	}
	return nil
}

// check reads a property by its type. Values of a key=value list are texts; JSON has its own types.
func (p *objectProp) check(d *qobj.Dict) error {
	v, given := d.Get(p.name)
	if !given {
		if p.must {
			return qerr.New(syscall.EINVAL, "Parameter '%s' is missing", p.name)
		}
		return nil
	}
	text, isText := v.(string)
	switch p.typ {
	case "string":
		_, err := objectString(d, p.name)
		return err
	case "int", "int32_t":
		return p.checkInt(v, text, isText)
	case "bool":
		if _, isBool := v.(bool); isBool {
			return nil
		}
		_, err := (option.Schema{{Name: p.name, Type: option.Bool}}).Parse(p.name + "=" + text)
		return err
	case "ThrottleLimits", "QAuthZListRule":
		if isText {
			return qerr.New(syscall.EINVAL, "Invalid parameter type for '%s', expected: object", p.name)
		}
		return nil
	}
	for _, c := range p.choices {
		if text == c {
			return nil
		}
	}
	return qerr.New(syscall.EINVAL, "Parameter '%s' does not accept value '%s'", p.name, text)
}

func (p *objectProp) checkInt(v any, text string, isText bool) error {
	switch v.(type) {
	case int64, uint64:
		return nil
	}
	if _, err := option.ParseUint(text); !isText || err != nil {
		return qerr.New(syscall.EINVAL, "Parameter '%s' expects integer", p.name)
	}
	return nil
}
