package option

import (
	"slices"
	"strings"

	"platter/formats/qobj"
)

// Type says what values an option takes.
type Type int

// The types of options.
const (
	String Type = iota // any text
	Bool               // on, yes, true, y; off, no, false, n
	Number             // an unsigned integer: decimal, 0x… or 0…
	Size               // bytes, with an optional fraction and suffix (ParseSize)
)

// Opt describes one option.
type Opt struct {
	Name string
	Type Type
	// Help is the description in option lists; "" for none.
	Help string
	// Default is the value that counts, and that FormatLine prints, when the option is not given; "" for none.
	Default string
}

// Schema is a list of options, in the order in which FormatLine prints them.
type Schema []Opt

// Find returns the option called name.
//
// An option whose name ends in a dot stands for all keys with that prefix (a list, or a structure that the driver reads
// itself).
func (s Schema) Find(name string) (*Opt, bool) {
	if i := slices.IndexFunc(s, func(o Opt) bool { return o.Name == name }); i >= 0 {
		return &s[i], true
	}
	for _, o := range s {
		if strings.HasSuffix(o.Name, ".") && strings.HasPrefix(name, o.Name) {
			o.Name = name
			return &o, true
		}
	}
	return nil, false
}

// Merge appends to a the options of b whose names are not yet there.
func Merge(a, b Schema) Schema {
	all := slices.Clone(a)
	for _, o := range b {
		if _, ok := all.Find(o.Name); !ok {
			all = append(all, o)
		}
	}
	return all
}

var typeHelp = [...]string{String: "str", Bool: "bool (on/off)", Number: "num", Size: "size"}

// helpColumn is where the descriptions of options begin.
const helpColumn = 24

// HelpText lists the options by name, one on a line, under a line with title and a colon (none when title is "").
// Defaults are not shown, qemu-img does not either. An empty schema gives "".
func (s Schema) HelpText(title string) string {
	if len(s) == 0 {
		return ""
	}
	var b strings.Builder
	if title != "" {
		b.WriteString(title + ":\n")
	}
	lines := make([]string, 0, len(s))
	for _, o := range s {
		line := "  " + o.Name + "=<" + typeHelp[o.Type] + ">"
		if o.Help != "" {
			line += strings.Repeat(" ", max(0, helpColumn-len(line))) + " - " + o.Help
		}
		lines = append(lines, line+"\n")
	}
	// The lines are sorted, not the names: "encrypt.format" comes before "encrypt" there, because of its "=".
	slices.Sort(lines)
	return b.String() + strings.Join(lines, "")
}

// HasHelp says whether list asks for help: an element that is "help" or "?" alone.
func HasHelp(list string) bool {
	for e := range qobj.Opts(list, "") {
		if e.IsHelp() {
			return true
		}
	}
	return false
}

// IsValidList says whether list may be joined with other lists by commas: it is not empty, no element is empty or
// begins with a comma, and no comma ends it.
func IsValidList(list string) bool {
	if list == "" {
		return false
	}
	for rest := list; rest != ""; {
		var value string
		value, rest = qobj.CutValue(rest)
		if value == "" || value[0] == ',' || rest == "," {
			return false
		}
		rest = strings.TrimPrefix(rest, ",")
	}
	return true
}
