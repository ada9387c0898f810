package verb

var mapVerb = Verb{
	Name:    "map",
	Summary: "Dump image metadata",
	Synopsis: []string{
		"[-f FMT | --image-opts] [--object OBJDEF] [--output human|json]",
		"        [--start-offset OFFSET] [--max-length LENGTH] [-U] FILENAME",
	},
	LongOrder: "help format output object image-opts force-share start-offset max-length",
	Rows: []Row{
		format("specify FILENAME image format explicitly"),
		imageOpts("FILENAME", "--format"),
		{Short: 's', Long: "start-offset", Arg: "OFFSET", Kind: Size, Help: []string{"begin at this guest offset (default 0)"},
			Stock: "  --start-offset OFFSET\n"},
		{Short: 'l', Long: "max-length", Arg: "LENGTH", Kind: Size, Help: []string{"end after this many bytes (default: at the end)"},
			Stock: "  --max-length LENGTH\n"},
		output("specify output format name (default human)"),
		forceShare("image"),
		object(),
		filename("image file name (or specification with --image-opts)"),
	},
	Example: []string{"map --output=json disk.qcow2", "lists which ranges hold data and where in the file they lie"},
}
