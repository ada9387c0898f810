package verb

var measure = Verb{
	Name:         "measure",
	Summary:      "Calculate file size required for a new image",
	StockSummary: "Calculate file size requred for a new image",
	Synopsis: []string{
		"[-f FMT|--image-opts] [-o OPTIONS] [-O OUTPUT_FMT]",
		"       [--output OFMT] [--object OBJDEF] [-l SNAPSHOT_PARAM]",
		"       (--size SIZE | FILENAME)",
	},
	LongOrder: "help target-format format image-opts options snapshot object output size force-share",
	Rows: []Row{
		{Short: 'O', Long: "target-format", Arg: "FMT", Kind: Format,
			Help: []string{"desired target/output image format (default raw)"}},
		{Long: "size", Arg: "SIZE", Kind: Size, Help: []string{"measure file size for given image size"},
			Stock: "  -s, --size SIZE\n     measure file size for given image size\n"},
		filename("measure file size required to convert from FILENAME"),
		{Short: 'f', Long: "format", Arg: "FMT", Kind: Format, Help: []string{"specify format of FILENAME explicitly"},
			Stock: "  -f, --format\n     specify format of FILENAME explicitly\n"},
		imageOpts("FILENAME", "--format"),
		{Short: 'l', Long: "snapshot", Arg: "SNAPSHOT", Kind: Snapshot,
			Help: []string{"use this snapshot in FILENAME as source"}},
		{Short: 'o', Long: "options", Arg: "OPTIONS", Kind: FormatOptions, Omit: true,
			Help: []string{"options of the new image, as key=value,... ('-o help' for list)"}},
		output("output format"),
		forceShare("images"),
		omitted(object()),
	},
	Example: []string{"measure -O qcow2 disk.raw", "tells how large disk.raw becomes as qcow2"},
}
