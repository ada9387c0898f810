package verb

import "strings"

// Help gives what --help prints. Program is the name in the usage lines; stock chooses qemu-img's text to the byte.
func (v *Verb) Help(program string, stock bool) string {
	summary, synopsis := v.Summary, v.Synopsis
	if stock && v.StockSummary != "" {
		summary = v.StockSummary
	}
	if stock && v.StockUsage != nil {
		synopsis = v.StockUsage
	}
	var b strings.Builder
	if stock {
		b.WriteString("Usage:\n")
	}
	b.WriteString(summary + ".  Usage:\n\n  " + program + " " + v.Name + " " + strings.Join(synopsis, "\n") + "\n\nArguments:\n")
	b.WriteString("  -h, --help\n     print this help and exit\n")
	for i := range v.Rows {
		b.WriteString(v.Rows[i].block(stock))
	}
	b.WriteString("\n")
	return b.String()
}

// block is the row's part of the help.
func (r *Row) block(stock bool) string {
	if stock && r.Omit {
		return ""
	}
	if stock && r.Stock != "" {
		return r.Stock
	}
	b := "  " + r.Head(!stock) + "\n"
	for _, line := range r.Help {
		b += "     " + line + "\n"
	}
	for _, v := range r.Values {
		b += "       " + v.Name + "\n" + wrap(v.Help, "         ")
	}
	return b
}

// wrap sets a text in lines of at most 80 characters that begin with indent.
func wrap(text, indent string) string {
	var b strings.Builder
	line := indent
	for _, word := range strings.Fields(text) {
		if len(line)+len(word) > 80 {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = indent
		}
		line += word + " "
	}
	return b.String() + strings.TrimRight(line, " ") + "\n"
}

// Head is how an option is written: "-f, --format FMT". Extra includes names of platter mode if there is no other.
func (r *Row) Head(extra bool) string {
	if !r.IsOption() {
		return r.Operand
	}
	var forms []string
	if r.Short != 0 {
		forms = append(forms, "-"+string(rune(r.Short)))
	}
	if names := r.Names(extra); len(names) > 0 {
		forms = append(forms, "--"+names[0])
	}
	head := strings.Join(forms, ", ")
	if r.Arg != "" {
		head += " " + r.Arg
	}
	return head
}
