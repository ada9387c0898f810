package qobj

import (
	"iter"
	"strings"
	"syscall"

	"platter/formats/qerr"
)

// FromOptsString reads the flat "driver=qcow2,file.filename=a,,b" syntax of --image-opts into strings. A first element
// without "=" is the value of implied (qemu-img uses "file"), unless that is ""; any other "name" means name=on and
// "noname" name=off. Of equal names the last counts. An "id" must be an identifier.
func FromOptsString(s, implied string) (*Dict, error) {
	d := NewDict()
	id, hasID := optsID(s)
	if hasID && !WellFormedID(id) {
		return nil, qerr.WithHint(qerr.New(syscall.EINVAL, "Parameter 'id' expects an identifier"),
			"Identifiers consist of letters, digits, '-', '.', '_', starting with a letter.\n")
	}
	if hasID {
		d.Set("id", id)
	}
	for e := range Opts(s, implied) {
		if e.Name != "id" {
			d.Set(e.Name, e.Value)
		}
	}
	return d, nil
}

// optsID finds the first "id" element of a list.
func optsID(s string) (string, bool) {
	for e := range Opts(s, "") {
		if e.Name == "id" {
			return e.Value, true
		}
	}
	return "", false
}

// Opt is one element of a flat option list.
type Opt struct {
	Name, Value string
	// Flag is set when the element had no "=": Value is then "on", or "off" with the "no" taken off Name.
	Flag bool
}

// IsHelp says whether the element is "help" or "?" alone.
func (o Opt) IsHelp() bool { return o.Flag && o.Value == "on" && (o.Name == "help" || o.Name == "?") }

// Opts iterates over the elements of a flat option list, with the rules given at FromOptsString.
func Opts(s, implied string) iter.Seq[Opt] {
	return func(yield func(Opt) bool) {
		for first := implied; s != ""; first = "" {
			var e Opt
			e, s = cutOpt(s, first)
			if !yield(e) {
				return
			}
		}
	}
}

func cutOpt(s, implied string) (e Opt, rest string) {
	n := strings.IndexAny(s, "=,")
	if n < 0 {
		n = len(s)
	}
	switch {
	case n < len(s) && s[n] == '=':
		e.Name = s[:n]
		e.Value, rest = CutValue(s[n+1:])
	case implied != "":
		e.Name = implied
		e.Value, rest = CutValue(s)
	default:
		e = Opt{Name: s[:n], Value: "on", Flag: true}
		if name, ok := strings.CutPrefix(e.Name, "no"); ok {
			e.Name, e.Value = name, "off"
		}
		rest = s[n:]
	}
	return e, strings.TrimPrefix(rest, ",")
}

// FlagWarnings returns one warning, with its hint, for each element of the list that sets a flag without "=", in
// order. Help requests are not warned of.
func FlagWarnings(s, implied string) []error {
	var all []error
	for e := range Opts(s, implied) {
		if !e.Flag || e.IsHelp() {
			continue
		}
		written := e.Name
		if e.Value == "off" {
			written = "no" + e.Name
		}
		all = append(all, qerr.WithHint(
			qerr.New(0, "short-form boolean option '%s' deprecated", written),
			"Please use "+e.Name+"="+e.Value+" instead\n"))
	}
	return all
}

// WellFormedID says whether id may name an object: a letter, then letters, digits, "-", "." and "_".
func WellFormedID(id string) bool {
	if id == "" || !isLetter(id[0]) {
		return false
	}
	for i := range len(id) {
		if !isNameByte(id[i]) && id[i] != '.' {
			return false
		}
	}
	return true
}
