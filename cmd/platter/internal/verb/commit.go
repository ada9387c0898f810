package verb

var commit = Verb{
	Name:    "commit",
	Summary: "Commit image to its backing file",
	Synopsis: []string{
		"[-f FMT | --image-opts] [-t CACHE_MODE] [-b BASE_IMG] [-d]",
		"        [-r RATE] [--object OBJDEF] FILENAME",
	},
	LongOrder: "help quiet object format image-opts cache drop base progress rate",
	Rows: []Row{
		quiet("quiet operations"),
		progress("show operation progress"),
		format("specify FILENAME image format explicitly"),
		imageOpts("FILENAME", "--format"),
		{Short: 't', Long: "cache", Arg: "CACHE_MODE", Kind: Cache, Help: []string{"image cache mode (writeback)"},
			Stock: "  -t, --cache CACHE_MODE image cache mode (writeback)\n"},
		{Short: 'd', Long: "drop", Help: []string{"skip emptying FILENAME on completion"}},
		{Short: 'b', Long: "base", Arg: "BASE_IMG", Kind: File, Help: []string{
			"image in the backing chain to which to commit changes",
			"instead of the previous one (implies --drop)",
		}},
		{Short: 'r', Long: "rate", Arg: "RATE", Kind: Size, Help: []string{"I/O rate limit"}},
		object(),
		filename("name of the image file to operate on"),
	},
	Note: []string{
		"The backing file grows if FILENAME is larger. After the commit FILENAME is emptied, unless B<-d> is given or BASE_IMG " +
			"is not the immediate backing file.",
	},
	Example: []string{"commit overlay.qcow2", "writes the changes of overlay.qcow2 into its backing file"},
}
