package option

import (
	"cmp"
	"slices"
	"strings"
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
	// Default is the value that counts and is printed when the option is not given; "" for none.
	Default string
}

// Schema is a list of options, in the order in which FormatLine prints them.
type Schema []Opt

// Find returns the option called name.
func (s Schema) Find(name string) (*Opt, bool) {
	i := slices.IndexFunc(s, func(o Opt) bool { return o.Name == name })
	if i < 0 {
		return nil, false
	}
	return &s[i], true
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
// An empty schema gives "".
func (s Schema) HelpText(title string) string {
	if len(s) == 0 {
		return ""
	}
	var b strings.Builder
	if title != "" {
		b.WriteString(title + ":\n")
	}
	sorted := slices.Clone(s)
	slices.SortStableFunc(sorted, func(a, b Opt) int { return cmp.Compare(a.Name, b.Name) })
	for _, o := range sorted {
		line := "  " + o.Name + "=<" + typeHelp[o.Type] + ">"
		if o.Help != "" {
			line += strings.Repeat(" ", max(0, helpColumn-len(line))) + " - " + o.Help
		}
		if o.Default != "" {
			line += " (default: " + o.Default + ")"
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

// HasHelp says whether list asks for help: an element that is "help" or "?" alone.
func HasHelp(list string) bool {
	for _, e := range elements(list) {
		if e.flag && (e.name == "help" || e.name == "?") {
			return true
		}
	}
	return false
}

// IsValidList says whether list may be joined with other lists by commas: no element is empty or begins with a comma,
// and no comma ends it.
func IsValidList(list string) bool {
	for rest := list; rest != ""; {
		var value string
		value, rest = cutValue(rest)
		if value == "" || value[0] == ',' || rest == "," {
			return false
		}
		rest = strings.TrimPrefix(rest, ",")
	}
	return true
}
