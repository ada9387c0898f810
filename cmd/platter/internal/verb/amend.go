package verb

var amend = Verb{
	Name:    "amend",
	Summary: "Update format-specific options of the image",
	Synopsis: []string{
		"[-f FMT | --image-opts] [-t CACHE] [--force] [-p] [-q]",
		"        [--object OBJDEF] -o OPTIONS FILENAME",
	},
	StockUsage: []string{
		"[-f FMT | --image-opts] [t CACHE] [--force] [-p] [-q]",
		"        [--object OBJDEF -o OPTIONS FILENAME",
	},
	LongOrder: "help quiet progress object format cache options image-opts force",
	Rows: []Row{
		quiet("quiet operation"),
		{Short: 'p', Long: "progress", Help: []string{"show progress"}, Stock: "  -p, --progres\n     show progress\n"},
		format("specify FILENAME format explicitly"),
		imageOptsMisaligned("     "),
		{Short: 't', Long: "cache", Arg: "CACHE", Kind: Cache, Help: []string{"cache mode for FILENAME (writeback)"}},
		{Long: "force", Help: []string{"allow certain unsafe operations"}},
		{Short: 'o', Long: "options", Arg: "OPTIONS", Kind: FormatOptions, Omit: true,
			Help: []string{"options to change, as key=value,... ('-o help' for list)"}},
		omitted(object()),
		omitted(filename("image file name (or specification with --image-opts)")),
	},
	Note: []string{
		"Not every format can be amended, and not every option of a format: B<-f FMT -o help> lists what can.",
		"B<--force> is needed for operations that can make data unreadable for good, such as erasing the last key slot.",
	},
	Example: []string{
		"amend -f qcow2 -o compat=1.1,lazy_refcounts=on disk.qcow2", "turns lazy reference counts on",
	},
}
