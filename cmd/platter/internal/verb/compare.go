package verb

var compare = Verb{
	Name:    "compare",
	Summary: "Check if two images have the same contents",
	Synopsis: []string{
		"[--image-opts | [-f FMT] [-F FMT]] [-s]",
		"        [-T CACHE] [-U] [--object OBJDEF] FILENAME1 FILENAME2",
	},
	LongOrder: "help quiet object cache image-opts a-format left-format b-format right-format force-share strict progress",
	Rows: []Row{
		quiet("quiet operation"),
		progress("show operation progress"),
		{Short: 'f', Long: "a-format left-format", Arg: "FMT", Kind: Format,
			Help: []string{"specify FILENAME1 image format explicitly"}},
		{Short: 'F', Long: "b-format right-format", Arg: "FMT", Kind: Format,
			Help: []string{"specify FILENAME2 image format explicitly"}},
		{Long: "image-opts", Help: []string{
			"indicates that FILENAMEs are complete image specifications",
			"instead of file names (incompatible with --a-format and --b-format)",
		}},
		{Short: 's', Long: "strict", Help: []string{"strict mode, also check if sizes are equal"}},
		{Short: 'T', Long: "cache", Arg: "CACHE_MODE", Kind: Cache, Help: []string{"images caching mode (writeback)"}},
		forceShare("images"),
		object(),
		{Operand: "FILENAME1, FILENAME2", Kind: File, Help: []string{"image files (or specifications) to compare"}},
	},
	Note: []string{
		"By default the contents are compared: sizes and allocation may differ if what is behind the shorter image reads as " +
			"zeroes. Exit status: 0 equal, 1 different, 2 an image cannot be opened, 3 the allocation cannot be read, " +
			"4 data cannot be read.",
	},
	Example: []string{"compare disk.raw disk.qcow2", "tells whether both hold the same guest disk"},
}
