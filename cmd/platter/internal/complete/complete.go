package complete

import (
	"slices"
	"strings"

	"platter/cmd/platter/internal/verb"
)

// Names knows what is not in the tables. Its functions give nothing rather than fail.
type Names interface {
	Formats() []string
	// Options lists the keys of -o for a format, as "key" and what it means.
	Options(verb, format string) []Candidate
	Snapshots(image, format string) []string
	Bitmaps(image, format string) []string
}

// Candidate is one word and what it means.
type Candidate struct{ Word, Help string }

// Answer is what may stand in place of a word. Files: names of files may, too, behind Prefix.
type Answer struct {
	Candidates []Candidate
	Files      bool
	Prefix     string // what stands before the file name in the same word: "--backing="
}

// line is a command line that is looked at.
type line struct {
	names    Names
	verb     *verb.Verb
	format   string
	target   string // the format that -o speaks of
	operands []string
	literal  bool // behind "--"
}

// Complete completes the last of words, which begin behind the program's name.
func Complete(names Names, words []string) Answer {
	if len(words) == 0 {
		return Answer{}
	}
	done, word := words[:len(words)-1], words[len(words)-1]
	for len(done) > 0 && strings.HasPrefix(done[0], "-") {
		skip := 1
		if done[0] == "-T" || done[0] == "--trace" {
			skip = 2
		}
		done = done[min(skip, len(done)):]
	}
	if len(done) == 0 {
		return matching(word, append(verbs(), Candidate{"--help", ""}, Candidate{"--version", ""}, Candidate{"--trace", ""}))
	}
	v := find(done[0])
	if v == nil {
		return Answer{}
	}
	l := &line{names: names, verb: v}
	wanting := l.read(done[1:])
	switch {
	case wanting != nil:
		return l.value(wanting, word, "")
	case l.literal || !strings.HasPrefix(word, "-"):
		return l.operand(word)
	case strings.HasPrefix(word, "--"):
		if name, value, stuck := strings.Cut(word[2:], "="); stuck {
			if r := v.Lookup(0, name); r != nil && r.Arg != "" {
				return l.value(r, value, "--"+name+"=")
			}
			return Answer{}
		}
		return matching(word, l.options())
	case len(word) > 2:
		if r := v.Lookup(word[1], ""); r != nil && r.Arg != "" {
			return l.value(r, word[2:], word[:2])
		}
	}
	return matching(word, l.options())
}

func verbs() []Candidate {
	var all []Candidate
	for _, v := range append(verb.All(), verb.Own()...) {
		all = append(all, Candidate{v.Name, v.Summary})
	}
	return all
}

func find(name string) *verb.Verb {
	if v := verb.Find(name); v != nil {
		return v
	}
	return verb.FindOwn(name)
}

// read looks at the words before the one in question. It returns the option whose value that one is, if it is one.
func (l *line) read(words []string) (wanting *verb.Row) {
	for i := 0; i < len(words); i++ {
		w := words[i]
		var r *verb.Row
		value, stuck := "", false
		switch {
		case l.literal || len(w) < 2 || w[0] != '-':
			l.operands = append(l.operands, w)
			continue
		case w == "--":
			l.literal = true
			continue
		case strings.HasPrefix(w, "--"):
			var name string
			name, value, stuck = strings.Cut(w[2:], "=")
			r = l.verb.Lookup(0, name)
		default:
			r, value = l.cluster(w[1:])
			stuck = value != ""
		}
		if r == nil || r.Arg == "" {
			continue
		}
		if !stuck && i+1 == len(words) {
			return r
		}
		if !stuck {
			i++
			value = words[i]
		}
		l.take(r, value)
	}
	return nil
}

// cluster finds the last option of letters such as "qf" or "fraw", and the value that is stuck to it.
func (l *line) cluster(letters string) (r *verb.Row, value string) {
	for i := range len(letters) {
		if r = l.verb.Lookup(letters[i], ""); r == nil || r.Arg != "" {
			return r, letters[i+1:]
		}
	}
	return r, ""
}

func (l *line) take(r *verb.Row, value string) {
	if r.Kind != verb.Format {
		return
	}
	switch r.Key() {
	case "format", "source-format", "a-format":
		l.format = value
	case "output-format", "target-format":
		l.target = value
	}
}

func (l *line) options() []Candidate {
	all := []Candidate{{"--help", "print help and exit"}}
	for _, r := range l.verb.Options() {
		help := strings.Join(r.Help, " ")
		for _, name := range r.Names(true) {
			all = append(all, Candidate{"--" + name, help})
		}
		if r.Short != 0 {
			all = append(all, Candidate{"-" + string(rune(r.Short)), help})
		}
	}
	return all
}

// value completes the value of an option; prefix is what stands before it in the same word.
func (l *line) value(r *verb.Row, word, prefix string) Answer {
	var a Answer
	switch r.Kind {
	case verb.File:
		return Answer{Files: true, Prefix: prefix}
	case verb.Format:
		a = plain(word, l.names.Formats())
	case verb.Cache:
		a = plain(word, []string{"none", "writeback", "unsafe", "writethrough", "directsync"})
	case verb.Choice:
		a = plain(word, r.Choices)
	case verb.Object:
		a = plain(word, []string{"secret,id=", "tls-creds-x509,id=", "tls-creds-psk,id=", "tls-creds-anon,id=", "throttle-group,id="})
	case verb.Snapshot:
		a = plain(word, l.names.Snapshots(l.image(), l.format))
	case verb.Bitmap:
		a = plain(word, l.names.Bitmaps(l.image(), l.format))
	case verb.FormatOptions:
		a = l.formatOptions(word)
	}
	for i := range a.Candidates {
		a.Candidates[i].Word = prefix + a.Candidates[i].Word
	}
	return a
}

// formatOptions completes the last key of a list.
func (l *line) formatOptions(word string) Answer {
	format := l.format
	if l.verb.Name == "convert" || l.verb.Name == "measure" {
		format = l.target
	}
	if format == "" && l.verb.Name != "amend" {
		format = "raw"
	}
	start := strings.LastIndexByte(word, ',') + 1
	var all []Candidate
	for _, c := range l.names.Options(l.verb.Name, format) {
		if !slices.ContainsFunc(strings.Split(word[:start], ","), func(set string) bool { return strings.HasPrefix(set, c.Word+"=") }) {
			all = append(all, Candidate{word[:start] + c.Word + "=", c.Help})
		}
	}
	if start == 0 {
		all = append(all, Candidate{"help", "list the options"})
	}
	return matching(word, all)
}

// image is the operand that names the image of which names of snapshots and bitmaps are wanted.
func (l *line) image() string {
	if len(l.operands) == 0 {
		return ""
	}
	return l.operands[0]
}

// operand completes an operand by its place in the table; the last row counts for all that follow.
func (l *line) operand(word string) Answer {
	var rows []*verb.Row
	for i := range l.verb.Rows {
		if !l.verb.Rows[i].IsOption() {
			rows = append(rows, &l.verb.Rows[i])
		}
	}
	switch {
	case l.verb.Name == "help":
		return matching(word, verbs())
	case l.verb.Name == "dd":
		return ddOperand(rows, word)
	case len(rows) == 0:
		return Answer{}
	}
	r := rows[min(len(l.operands), len(rows)-1)]
	if r.Kind == verb.Size {
		return Answer{}
	}
	return l.value(r, word, "")
}

func ddOperand(rows []*verb.Row, word string) Answer {
	if key, _, ok := strings.Cut(word, "="); ok {
		return Answer{Files: key == "if" || key == "of", Prefix: key + "="}
	}
	var all []Candidate
	for _, r := range rows {
		key, _, _ := strings.Cut(r.Operand, "=")
		all = append(all, Candidate{key + "=", strings.Join(r.Help, " ")})
	}
	return matching(word, all)
}

func plain(word string, names []string) Answer {
	var all []Candidate
	for _, n := range names {
		all = append(all, Candidate{Word: n})
	}
	return matching(word, all)
}

func matching(word string, all []Candidate) Answer {
	return Answer{Candidates: slices.DeleteFunc(all, func(c Candidate) bool { return !strings.HasPrefix(c.Word, word) })}
}
