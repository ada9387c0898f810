package verb

// Rows that several verbs share.

func quiet(words string) Row {
	return Row{Short: 'q', Long: "quiet", Help: []string{words}}
}

func progress(words string) Row {
	return Row{Short: 'p', Long: "progress", Help: []string{words}}
}

func format(words string) Row {
	return Row{Short: 'f', Long: "format", Arg: "FMT", Kind: Format, Help: []string{words}}
}

func imageOpts(subject, rival string) Row {
	return Row{Long: "image-opts", Help: []string{
		"indicates that " + subject + " is a complete image specification",
		"instead of a file name (incompatible with " + rival + ")",
	}}
}

// imageOptsMisaligned is the row whose second line stock indents too little.
func imageOptsMisaligned(indent string) Row {
	r := imageOpts("FILENAME", "--format")
	r.Stock = "  --image-opts\n" + indent + "indicates that FILENAME is a complete image specification\n" +
		"   instead of a file name (incompatible with --format)\n"
	return r
}

func forceShare(images string) Row {
	return Row{Short: 'U', Long: "force-share", Help: []string{"open " + images + " in shared mode for concurrent access"}}
}

func object() Row {
	return Row{Long: "object", Arg: "OBJDEF", Kind: Object,
		Help: []string{"QEMU user-creatable object (eg encryption key)"}}
}

func omitted(r Row) Row {
	r.Omit = true
	return r
}

func output(words string) Row {
	return Row{Long: "output", Arg: "human|json", Kind: Choice, Choices: []string{"human", "json"}, Help: []string{words}}
}

func filename(words string) Row {
	return Row{Operand: "FILENAME", Kind: File, Help: []string{words}}
}

// letterOnly is an option whose long name only platter mode knows, though stock's help shows it.
func (r Row) letterOnly() Row {
	r.Stock = r.block(false)
	r.Long, r.Extra = "", r.Long
	return r
}
