package manual

import (
	"fmt"
	"strings"

	"platter/cmd/platter/internal/verb"
)

// Pages gives all pages by file name.
func Pages(version string) map[string]string {
	pages := map[string]string{"platter.1": mainPage(version)}
	for _, v := range Verbs() {
		pages["platter-"+v.Name+".1"] = verbPage(v, version)
	}
	return pages
}

// Verbs are those that have a page.
func Verbs() []*verb.Verb { return append(verb.All(), verb.Own()...) }

// page is a page in the making. Its text is that of the man macros.
type page struct{ strings.Builder }

func newPage(name, version, summary string) *page {
	p := &page{}
	fmt.Fprintf(p, ".TH %s 1 \"\" \"platter %s\" \"User Commands\"\n.nh\n.ad l\n", strings.ToUpper(name), escape(version))
	p.section("NAME")
	fmt.Fprintf(p, "%s \\- %s\n", escape(name), escape(lowerFirst(summary)))
	return p
}

func (p *page) section(title string) { fmt.Fprintf(p, ".SH %s\n", title) }

func (p *page) paragraph(text string) { p.WriteString(".PP\n" + markup(text) + "\n") }

// item is a term and what it means.
func (p *page) item(term, text string) { p.WriteString(".TP\n" + term + "\n" + markup(text) + "\n") }

// escape makes text mean itself in roff.
func escape(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, `"`, `\(dq`).Replace(s)
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return s
}

// markup escapes text and makes what stands in B<…> bold.
func markup(s string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, "B<")
		b.WriteString(escape(before))
		if !found {
			return b.String()
		}
		word, after, _ := strings.Cut(rest, ">")
		b.WriteString(`\fB` + escape(word) + `\fR`)
		s = after
	}
}

func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }

// sentence joins lines of help and ends them with a full stop.
func sentence(lines []string) string {
	s := strings.Join(strings.Fields(strings.Join(lines, " ")), " ")
	s = strings.ToUpper(s[:1]) + s[1:]
	if !strings.HasSuffix(s, ".") && !strings.HasSuffix(s, ".)") {
		s += "."
	}
	return s
}

// term is how an option is written, all its names included.
func term(r *verb.Row) string {
	if !r.IsOption() {
		return `\fI` + escape(r.Operand) + `\fR`
	}
	arg := ""
	if r.Arg != "" {
		arg = ` \fI` + escape(r.Arg) + `\fR`
	}
	var forms []string
	if r.Short != 0 {
		forms = append(forms, `\fB\-`+string(rune(r.Short))+`\fR`+arg)
	}
	for _, name := range r.Names(true) {
		forms = append(forms, `\fB`+escape("--"+name)+`\fR`+arg)
	}
	return strings.Join(forms, ", ")
}

func verbPage(v *verb.Verb, version string) string {
	p := newPage("platter-"+v.Name, version, v.Summary)
	p.section("SYNOPSIS")
	var lines, notes []string
	for _, line := range v.Synopsis {
		if strings.HasPrefix(line, " ") || len(lines) == 0 {
			lines = append(lines, strings.TrimSpace(line))
		} else {
			notes = append(notes, line+".")
		}
	}
	fmt.Fprintf(p, "\\fBplatter %s\\fR %s\n", escape(v.Name), escape(strings.Join(lines, " ")))
	if notes = append(notes, v.Note...); len(notes) > 0 {
		p.section("DESCRIPTION")
		for _, note := range notes {
			p.paragraph(note)
		}
	}
	p.section("OPTIONS")
	p.item(`\fB\-h\fR, \fB\-\-help\fR`, "Show a summary and exit.")
	for i := range v.Rows {
		if v.Rows[i].IsOption() {
			p.item(term(&v.Rows[i]), sentence(v.Rows[i].Help))
		}
	}
	for _, r := range v.Options() {
		p.values(v.Name+" "+r.Arg, r)
	}
	p.operands(v)
	p.examples(v)
	p.section("SEE ALSO")
	p.WriteString("\\fBplatter\\fR(1), for image names, sizes, cache modes and exit status\n")
	return p.String()
}

// values explains what the value of an option consists of.
func (p *page) values(title string, r *verb.Row) {
	for i, v := range r.Values {
		if i == 0 {
			p.section(strings.ToUpper(title))
		}
		p.item(`\fB`+escape(v.Name)+`\fR`, sentence([]string{v.Help}))
	}
}

func (p *page) operands(v *verb.Verb) {
	begun := false
	for i := range v.Rows {
		r := &v.Rows[i]
		if r.IsOption() {
			continue
		}
		if !begun {
			p.section("OPERANDS")
			begun = true
		}
		p.item(term(r), sentence(r.Help))
	}
}

func (p *page) examples(v *verb.Verb) {
	if len(v.Example) == 0 {
		return
	}
	p.section("EXAMPLES")
	for i := 0; i+1 < len(v.Example); i += 2 {
		p.item(`\fB`+escape("platter "+v.Example[i])+`\fR`, sentence(v.Example[i+1:i+2]))
	}
}
