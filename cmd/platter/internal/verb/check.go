package verb

var check = Verb{
	Name:    "check",
	Summary: "Check basic image integrity",
	Synopsis: []string{
		"[-f FMT | --image-opts] [-T CACHE_MODE] [-r leaks|all] [-U] [-q]",
		"        [--output human|json] [--object OBJDEF] FILENAME",
	},
	StockUsage: []string{
		"[-f FMT | --image-opts] [-T CACHE_MODE] [-r] [-u]",
		"        [--output human|json] [--object OBJDEF] FILENAME",
	},
	LongOrder: "help quiet format cache repair output object image-opts force-share",
	Rows: []Row{
		quiet("quiet operations"),
		format("specifies format of the image explicitly"),
		imageOpts("FILENAME", "--format"),
		{Short: 'T', Long: "cache", Arg: "CACHE_MODE", Kind: Cache, Help: []string{"image cache mode (writeback)"}},
		forceShare("image"),
		output("output format"),
		{Short: 'r', Long: "repair", Arg: "leaks|all", Kind: Choice, Choices: []string{"leaks", "all"}, Help: []string{
			"repair particular aspect of the image",
			"(image will be open in read-write mode, incompatible with --force-share)",
		}},
		object(),
		filename("the image file (or image specification) to operate on"),
	},
	Note: []string{
		"Exit status: 0 the image is good (or was repaired), 1 the check could not be completed, 2 the image is corrupt, " +
			"3 clusters are leaked but nothing is corrupt, 63 the format has no checks.",
	},
	Example: []string{"check -r all disk.qcow2", "repairs whatever can be repaired"},
}
