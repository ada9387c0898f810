package verb

import (
	"slices"
	"strings"

	"platter/cmd/platter/internal/getopt"
)

// Kind says what a value is, for shell completion.
type Kind int

// The kinds of values.
const (
	Plain Kind = iota
	File
	Format
	Cache
	Size
	FormatOptions // key=value list; the keys depend on the format
	Object
	Snapshot
	Bitmap
	Choice // one of Row.Choices
)

// Row is an option, or an operand if Operand is set.
type Row struct {
	Short   byte     // letter, 0 if there is none
	Long    string   // long names that stock knows, separated by blanks
	Extra   string   // further long names that only platter mode knows
	Operand string   // name of an operand
	Arg     string   // name of the value, "" if the option takes none
	Help    []string // what it does, in lines of help
	Stock   string   // stock's lines if they are not the regular ones
	Omit    bool     // stock's help does not show the row
	Bare    bool     // stock's long names take no value though the letter does; platter's do
	Kind    Kind
	Choices []string
	Values  []Value // what the value may consist of, where that is a list
}

// Value is a part of an option's value.
type Value struct {
	Name string // as it is written, or several names that belong together: "uid=N", "ro, rw"
	Help string // what it does
}

// Verb is one verb.
type Verb struct {
	Name         string
	Summary      string
	StockSummary string   // stock's wording if it differs
	Synopsis     []string // lines, the first without the verb's name
	StockUsage   []string // stock's wording if it differs
	Rows         []Row    // in the order of the help
	LongOrder    string   // stock's long names in the order in which getopt lists them
	InOrder      bool     // operands are handed out in their places (resize)
	Note         []string // paragraphs for the manual page
	Example      []string // command lines for the manual page, each followed by what it does
}

// Key is the name under which parsing knows the option: its first long name, or else its letter.
func (r *Row) Key() string {
	if names := r.Names(true); len(names) > 0 {
		return names[0]
	}
	return string(rune(r.Short))
}

// Names gives the long names; extra adds those of platter mode.
func (r *Row) Names(extra bool) []string {
	names := strings.Fields(r.Long)
	if extra {
		names = append(names, strings.Fields(r.Extra)...)
	}
	return names
}

// IsOption tells options from operands.
func (r *Row) IsOption() bool { return r.Operand == "" }

// Options gives the rows that are options.
func (v *Verb) Options() []*Row {
	var rows []*Row
	for i := range v.Rows {
		if v.Rows[i].IsOption() {
			rows = append(rows, &v.Rows[i])
		}
	}
	return rows
}

// Lookup finds an option by its letter or by one of its long names.
func (v *Verb) Lookup(short byte, long string) *Row {
	for _, r := range v.Options() {
		if long == "" && r.Short == short || long != "" && slices.Contains(r.Names(true), long) {
			return r
		}
	}
	return nil
}

// Spec gives the options as getopt wants them: stock's alone, or with the extra names of platter mode.
func (v *Verb) Spec(extra bool) getopt.Spec {
	spec := getopt.Spec{Short: map[byte]bool{'h': false}}
	if v.InOrder {
		spec.Order = getopt.InOrder
	}
	for _, r := range v.Options() {
		if r.Short != 0 {
			spec.Short[r.Short] = r.Arg != ""
		}
	}
	for _, name := range strings.Fields(v.LongOrder) {
		if name == "help" {
			spec.Long = append(spec.Long, getopt.Long{Name: name, Key: name})
			continue
		}
		r := v.Lookup(0, name)
		spec.Long = append(spec.Long, getopt.Long{Name: name, Key: r.Key(), Value: r.Arg != "" && (extra || !r.Bare)})
	}
	if extra {
		for _, r := range v.Options() {
			for _, name := range strings.Fields(r.Extra) {
				spec.Long = append(spec.Long, getopt.Long{Name: name, Key: r.Key(), Value: r.Arg != ""})
			}
		}
	}
	return spec
}

// All lists the verbs that qemu-img has, in its order.
func All() []*Verb {
	return []*Verb{
		&amend, &bench, &bitmap, &check, &commit, &compare, &convert, &create, &dd, &info, &mapVerb, &measure,
		&rebase, &resize, &snapshot,
	}
}

// Find gives the verb of that name, nil if there is none.
func Find(name string) *Verb {
	for _, v := range All() {
		if v.Name == name {
			return v
		}
	}
	return nil
}
