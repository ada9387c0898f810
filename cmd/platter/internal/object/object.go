package object

import (
	"os"
	"syscall"

	"platter/formats/crypt/secret"
	"platter/formats/crypt/tlscreds"
	"platter/formats/qerr"
)

// Set is what --object made, by id. The zero value is empty and usable.
type Set struct {
	byID    map[string]*definition
	secrets map[string][]byte
}

// Add makes the object that spec defines. If spec asks for help instead, help is the text to print.
func (s *Set) Add(spec string) (help string, err error) {
	if help = helpText(spec); help != "" {
		return help, nil
	}
	d, err := parse(spec)
	if err == nil {
		err = s.make(d)
	}
	return "", err
}

func (s *Set) make(d *definition) error {
	if s.byID == nil {
		s.byID, s.secrets = map[string]*definition{}, map[string][]byte{}
	}
	if d.typ.name == "throttle-group" {
		if err := limitsInRange(d); err != nil {
			return err
		}
	}
	if s.byID[d.id] != nil {
		return qerr.New(syscall.EEXIST, "attempt to add duplicate property '%s' to object (type 'container')", d.id)
	}
	if err := s.complete(d); err != nil {
		return err
	}
	s.byID[d.id] = d
	return nil
}

// complete does what an object does once all its properties are known.
func (s *Set) complete(d *definition) error {
	switch d.typ.name {
	case "secret", "secret_keyring":
		data, err := secret.Load(d.Dict, s.Secret)
		if err == nil {
			s.secrets[d.id] = data
		}
		return err
	case "tls-creds-x509":
		return certificates(d)
	case "tls-creds-psk":
		return credentials(d, []string{"keys.psk"})
	case "throttle-group":
		return checkThrottle(d)
	case "main-loop":
		for _, other := range s.byID {
			if other.typ == d.typ {
				return invalid("only one main-loop instance allowed")
			}
		}
	}
	return nil
}

// certificates reads the folder of a tls-creds-x509 object, which must be sound.
func certificates(d *definition) error {
	dir, _ := d.text("dir", false)
	if !d.Has("dir") {
		return invalid("Missing 'dir' property value")
	}
	side := "client"
	if end, _ := d.text("endpoint", false); end == "server" {
		side = end
	}
	check, given := d.Get("sanity-check")
	_, err := tlscreds.Load(dir, side, !given || check == true || check == "on" || check == "yes")
	return err
}

// credentials looks for the files that a tls-creds object must find in its directory; whoever uses them reads them.
func credentials(d *definition, files []string) error {
	dir, _ := d.text("dir", false)
	if !d.Has("dir") {
		return invalid("Missing 'dir' property value")
	}
	for _, name := range files {
		path := dir + "/" + name
		if _, err := os.Stat(path); err != nil {
			return qerr.New(qerr.Of(err), "Unable to access credentials %s: %s", path, qerr.Text(err))
		}
	}
	return nil
}

// Secret gives the bytes of a secret.
func (s *Set) Secret(id string) ([]byte, error) {
	if data, ok := s.secrets[id]; ok {
		return data, nil
	}
	if s.byID[id] != nil {
		return nil, invalid("Object with id '%s' is not a secret", id)
	}
	return nil, invalid("No secret with id '%s'", id)
}

// Object gives an object of another type as its properties, a *qobj.Dict with "qom-type" and "id".
func (s *Set) Object(id string) (any, bool) {
	d, ok := s.byID[id]
	if !ok {
		return nil, false
	}
	return d.Dict, true
}
