package object

import (
	"slices"
	"strings"
	"syscall"

	"platter/formats/option"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// definition is one --object while it is read.
type definition struct {
	*qobj.Dict
	typ    *kind
	id     string
	strict bool // from JSON: values have types of their own, instead of being texts
}

// parse reads a definition, as JSON or key=value, and checks it against its type.
func parse(spec string) (*definition, error) {
	d := &definition{strict: strings.HasPrefix(spec, "{")}
	v, err := any(nil), error(nil)
	if d.strict {
		v, err = qobj.ParseJSON(spec)
	} else {
		v, err = qobj.ParseKeyval(spec, "qom-type")
	}
	if err != nil {
		return nil, err
	}
	d.Dict = v.(*qobj.Dict)
	return d, d.check()
}

func invalid(format string, a ...any) error { return qerr.New(syscall.EINVAL, format, a...) }

func (d *definition) check() error {
	name, err := d.text("qom-type", true)
	if err != nil {
		return err
	}
	d.typ = findKind(name)
	stranger := slices.Contains(strangers, name)
	if d.typ == nil && !stranger || name == "authz-list-file" {
		return invalid("Parameter 'qom-type' does not accept value '%s'", name)
	}
	if d.id, err = d.text("id", true); err != nil {
		return err
	}
	if stranger {
		return invalid("invalid object type: %s", name)
	}
	for i := range d.typ.props {
		if err := d.checkProp(&d.typ.props[i]); err != nil {
			return err
		}
	}
	for key := range d.All() {
		known := slices.ContainsFunc(d.typ.props, func(p prop) bool { return p.name == key })
		if _, nested := d.Dict.Dict(key); nested && !known && !d.strict {
			return invalid("Parameters '%s.*' are unexpected", key)
		}
		if !known && key != "qom-type" && key != "id" {
			return invalid("Parameter '%s' is unexpected", key)
		}
	}
	if !qobj.WellFormedID(d.id) {
		return qerr.WithHint(invalid("Parameter 'id' expects an identifier"),
			"Identifiers consist of letters, digits, '-', '.', '_', starting with a letter.\n")
	}
	return nil
}

// text gives a property that is a text.
func (d *definition) text(key string, must bool) (string, error) {
	v, ok := d.Get(key)
	if !ok && must {
		return "", invalid("Parameter '%s' is missing", key)
	}
	s, isText := v.(string)
	if _, nested := v.(*qobj.Dict); nested && !d.strict {
		return "", invalid("Parameters '%s.*' are unexpected", key)
	}
	if ok && !isText {
		return "", invalid("Invalid parameter type for '%s', expected: string", key)
	}
	return s, nil
}

// checkProp checks a property by its type.
func (d *definition) checkProp(p *prop) error {
	v, given := d.Get(p.name)
	if !given && p.must {
		return invalid("Parameter '%s' is missing", p.name)
	}
	if !given {
		return nil
	}
	switch p.typ {
	case "string":
		_, err := d.text(p.name, true)
		return err
	case "int", "int32_t":
		if _, isList := v.(qobj.List); p.list && !isList {
			return invalid("Invalid parameter type for '%s', expected: array", p.name)
		} else if p.list {
			return nil
		}
		return d.checkInt(p.name, v)
	case "bool":
		return d.checkBool(p.name, v)
	case "QAuthZListRule":
		if _, ok := v.(qobj.List); !ok {
			return invalid("Invalid parameter type for '%s', expected: array", p.name)
		}
		return nil
	case "ThrottleLimits":
		return d.checkLimits(p.name, v)
	}
	text, err := d.text(p.name, true)
	if err == nil && !slices.Contains(p.choices, text) {
		err = invalid("Parameter '%s' does not accept value '%s'", p.name, text)
	}
	return err
}

func (d *definition) checkInt(name string, v any) error {
	text, isText := v.(string)
	switch v.(type) {
	case int64, uint64:
		return nil
	}
	if d.strict || !isText {
		return invalid("Invalid parameter type for '%s', expected: integer", name)
	}
	if _, err := option.ParseUint(text); err != nil {
		return invalid("Parameter '%s' expects integer", name)
	}
	return nil
}

func (d *definition) checkBool(name string, v any) error {
	text, isText := v.(string)
	if _, isBool := v.(bool); isBool {
		return nil
	}
	if d.strict || !isText {
		return invalid("Invalid parameter type for '%s', expected: boolean", name)
	}
	return (&option.Values{}).Set(option.Schema{{Name: name, Type: option.Bool}}, name, text)
}

// checkLimits checks the limits of a throttle group.
func (d *definition) checkLimits(name string, v any) error {
	limits, ok := v.(*qobj.Dict)
	if !ok {
		return invalid("Invalid parameter type for '%s', expected: object", name)
	}
	for key, v := range limits.All() {
		if !slices.ContainsFunc(d.typ.props, func(p prop) bool { return p.name == "x-"+key }) {
			return invalid("Parameter '%s.%s' is unexpected", name, key)
		}
		if err := d.checkInt(name+"."+key, v); err != nil {
			return err
		}
	}
	return nil
}

// integer gives a number that check has accepted.
func (d *definition) integer(key string) (int64, bool) {
	v, ok := d.Get(key)
	switch v := v.(type) {
	case int64:
		return v, true
	case uint64:
		return int64(v), true
	case string:
		n, err := option.ParseUint(v)
		return int64(n), err == nil
	}
	return 0, ok
}
