package main

import (
	"io"
	"strings"
	"syscall"

	"platter/formats/crypt/secret"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// objects are what --object made, by id.
type objects struct {
	ids     []string
	props   map[string]*qobj.Dict
	secrets map[string][]byte // of secret and secret_keyring
}

// add makes an object. The error is an exitCode; what is wrong is already printed.
func (o *objects) add(e *env, spec string) error {
	err := o.make(e, spec)
	if _, done := err.(exitCode); err != nil && !done {
		e.reportError(err)
		return exitCode(1)
	}
	return err
}

func (o *objects) make(e *env, spec string) error {
	d, err := parseObject(spec)
	if err != nil {
		return err
	}
	if list := objectHelp(spec); list != "" {
		io.WriteString(e.stdout, list)
		return exitCode(0)
	}
	id, err := checkObject(d)
	if err != nil {
		return err
	}
	if !qobj.WellFormedID(id) {
		return qerr.WithHint(qerr.New(syscall.EINVAL, "Parameter 'id' expects an identifier"),
			"Identifiers consist of letters, digits, '-', '.', '_', starting with a letter.\n")
	}
	if o.props[id] != nil {
		return qerr.New(syscall.EEXIST, "attempt to add duplicate property '%s' to object (type 'container')", id)
	}
	if o.props == nil {
		o.props = map[string]*qobj.Dict{}
	}
	o.ids = append(o.ids, id)
	o.props[id] = d
	if !isSecret(d) {
		return nil
	}
	p, err := secret.Load(d, o.secret)
	if err != nil {
		return err
	}
	if o.secrets == nil {
		o.secrets = map[string][]byte{}
	}
	o.secrets[id] = p
	return nil
}

func isSecret(d *qobj.Dict) bool {
	kind, _ := d.String("qom-type")
	return kind == "secret" || kind == "secret_keyring"
}

// parseObject reads the definition, JSON or key=value.
func parseObject(spec string) (*qobj.Dict, error) {
	if strings.HasPrefix(spec, "{") {
		v, err := qobj.ParseJSON(spec)
		if err != nil {
			return nil, err
		}
		if d, ok := v.(*qobj.Dict); ok {
			return d, nil
		}
		return nil, qerr.New(syscall.EINVAL, "Expected '{'")
	}
	if objectHelp(spec) != "" {
		return qobj.NewDict(), nil
	}
	return qobj.ParseKeyval(spec, "qom-type")
}

// secret gives the bytes of a secret.
func (o *objects) secret(id string) ([]byte, error) {
	d := o.props[id]
	if d == nil {
		return nil, qerr.New(syscall.EINVAL, "No secret with id '%s'", id)
	}
	if !isSecret(d) {
		return nil, qerr.New(syscall.EINVAL, "Object with id '%s' is not a secret", id)
	}
	p, ok := o.secrets[id]
	if !ok {
		return nil, qerr.New(syscall.EINVAL, "Secret with id '%s' has no data", id)
	}
	return p, nil
}

// object gives an object of another type as its properties.
func (o *objects) object(id string) (any, bool) {
	d, ok := o.props[id]
	return d, ok
}
