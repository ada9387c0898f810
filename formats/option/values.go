package option

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"platter/formats/qerr"
	"platter/formats/qobj"
)

// Values are the options that were given, in the order in which their names first came. The zero value is empty and
// usable.
type Values struct {
	schema Schema
	given  []given
}

type given struct {
	name, raw string
	typ       Type
	on        bool
	n         uint64
}

// Parse reads a list as given to -o and checks every element; of equal names the last counts. "name" alone means
// name=on and "noname" name=off.
func (s Schema) Parse(list string) (*Values, error) {
	v := &Values{schema: s}
	for e := range qobj.Opts(list, "") {
		if e.Name == "id" {
			continue // names an object in QEMU, and is taken without use here as there
		}
		if err := v.Set(s, e.Name, e.Value); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// Set checks value against s and stores it, replacing an earlier one in its place.
func (v *Values) Set(s Schema, name, value string) error {
	if v.schema == nil {
		v.schema = s
	}
	o, ok := s.Find(name)
	if !ok {
		return qerr.New(syscall.EINVAL, "Invalid parameter '%s'", name)
	}
	g, err := o.parse(value)
	if err != nil {
		return err
	}
	if i := v.index(name); i >= 0 {
		v.given[i] = g
		return nil
	}
	v.given = append(v.given, g)
	return nil
}

func (v *Values) index(name string) int {
	if v == nil {
		return -1
	}
	return slices.IndexFunc(v.given, func(g given) bool { return g.name == name })
}

// parse reads value by the option's type.
func (o *Opt) parse(value string) (given, error) {
	g := given{name: o.Name, raw: value, typ: o.Type}
	var err error
	switch o.Type {
	case Bool:
		g.on, err = parseBool(o.Name, value)
	case Number:
		g.n, err = parseNumber(o.Name, value)
	case Size:
		g.n, err = parseSizeOption(o.Name, value)
	}
	return g, err
}

func parseBool(name, value string) (bool, error) {
	switch value {
	case "on", "yes", "true", "y":
		return true, nil
	case "off", "no", "false", "n":
		return false, nil
	}
	return false, qerr.New(syscall.EINVAL, "Parameter '%s' expects 'on' or 'off'", name)
}

func parseNumber(name, value string) (uint64, error) {
	n, err := ParseUint(value)
	switch {
	case errors.Is(err, syscall.ERANGE):
		return 0, qerr.New(syscall.EINVAL, "Value '%s' is too large for parameter '%s'", value, name)
	case err != nil:
		return 0, qerr.New(syscall.EINVAL, "Parameter '%s' expects a number", name)
	}
	return n, nil
}

const sizeHint = "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\n" +
	"and exabytes, respectively.\n"

func parseSizeOption(name, value string) (uint64, error) {
	n, err := ParseSize(value)
	switch {
	case errors.Is(err, syscall.ERANGE):
		return 0, qerr.New(syscall.EINVAL, "Value '%s' is out of range for parameter '%s'", value, name)
	case err != nil:
		err = qerr.New(syscall.EINVAL, "Parameter '%s' expects a non-negative number below 2^64", name)
		return 0, qerr.WithHint(err, sizeHint)
	}
	return n, nil
}

// lookup returns what was given for name, else the schema's default.
func (v *Values) lookup(name string) (given, bool) {
	if v == nil {
		return given{}, false
	}
	if i := v.index(name); i >= 0 {
		return v.given[i], true
	}
	o, ok := v.schema.Find(name)
	if !ok || o.Default == "" {
		return given{}, false
	}
	g, err := o.parse(o.Default)
	return g, err == nil
}

// Has says whether name was given; a default does not count.
func (v *Values) Has(name string) bool { return v.index(name) >= 0 }

// String returns what was given for name, else the schema's default, else def.
func (v *Values) String(name, def string) string {
	if g, ok := v.lookup(name); ok {
		return g.raw
	}
	return def
}

// Bool returns the value of a Bool option, else the schema's default, else def.
func (v *Values) Bool(name string, def bool) bool {
	if g, ok := v.lookup(name); ok && g.typ == Bool {
		return g.on
	}
	return def
}

// Uint returns the value of a Number or Size (bytes) option, else the schema's default, else def.
func (v *Values) Uint(name string, def uint64) uint64 {
	if g, ok := v.lookup(name); ok && (g.typ == Number || g.typ == Size) {
		return g.n
	}
	return def
}

// Raw returns the text given for name; a default does not count.
func (v *Values) Raw(name string) (string, bool) {
	i := v.index(name)
	if i < 0 {
		return "", false
	}
	return v.given[i].raw, true
}

// Names returns the given names in the order in which they first came.
func (v *Values) Names() []string {
	if v == nil {
		return nil
	}
	names := make([]string, len(v.given))
	for i, g := range v.given {
		names[i] = g.name
	}
	return names
}

// Delete forgets what was given for name.
func (v *Values) Delete(name string) {
	if i := v.index(name); i >= 0 {
		v.given = slices.Delete(v.given, i, i+1)
	}
}

// Clone returns an independent copy.
func (v *Values) Clone() *Values {
	if v == nil {
		return &Values{}
	}
	return &Values{schema: v.schema, given: slices.Clone(v.given)}
}

// Dict returns the given options as texts.
func (v *Values) Dict() *qobj.Dict {
	d := qobj.NewDict()
	if v != nil {
		for _, g := range v.given {
			d.Set(g.name, g.raw)
		}
	}
	return d
}

// FromDict takes the options of s out of the flat dictionary d; the others stay there. Values may be texts or typed
// JSON values. A null, dictionary or list for a known option is dropped unseen, as QEMU does.
func FromDict(s Schema, d *qobj.Dict) (*Values, error) {
	v := &Values{schema: s}
	for k, val := range d.All() {
		if _, ok := s.Find(k); !ok {
			continue
		}
		if text, ok := textOf(val); ok {
			if err := v.Set(s, k, text); err != nil {
				return nil, err
			}
		}
		d.Delete(k)
	}
	return v, nil
}

// textOf writes a scalar the way it would have been given in a list.
func textOf(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		if v {
			return "on", true
		}
		return "off", true
	case int64:
		return strconv.FormatInt(v, 10), true
	case uint64:
		return strconv.FormatUint(v, 10), true
	case float64:
		return qobj.FormatFloat(v), true
	}
	return "", false
}

// FormatLine prints the options of s that are given or have a default, in the schema's order, separated by spaces:
// "cluster_size=65536 extended_l2=off". Numbers and sizes that were given come out in decimal, texts with their
// commas doubled, defaults as they stand in the schema.
func FormatLine(s Schema, v *Values) string {
	var parts []string
	for _, o := range s {
		text := o.Default
		if i := v.index(o.Name); i >= 0 {
			text = v.given[i].raw
			if o.Type == Number || o.Type == Size {
				text = strconv.FormatInt(int64(v.given[i].n), 10)
			}
		} else if text == "" {
			continue
		}
		if o.Type == String {
			text = strings.ReplaceAll(text, ",", ",,")
		}
		parts = append(parts, o.Name+"="+text)
	}
	return strings.Join(parts, " ")
}
