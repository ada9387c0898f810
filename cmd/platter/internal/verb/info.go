package verb

var info = Verb{
	Name:    "info",
	Summary: "Display information about image",
	Synopsis: []string{
		"[-f FMT | --image-opts] [-b] [-U] [--object OBJDEF]",
		"        [--output human|json] FILENAME",
	},
	LongOrder: "help format output backing-chain object image-opts force-share",
	Rows: []Row{
		format("specify FILENAME image format explicitly"),
		imageOpts("FILENAME", "--format"),
		{Short: 'b', Long: "backing-chain",
			Help: []string{"display information about the backing chain", "(in case the image is stacked)"},
			Stock: "  -b, --backing-chain\n     display information about backing chaing\n" +
				"  (in case the image is stacked\n"},
		forceShare("image"),
		object(),
		output("specify output format name (default human)"),
		filename("image file name (or specification with --image-opts)"),
	},
	Example: []string{"info --backing-chain --output=json overlay.qcow2", "describes the image and all that it stands on"},
}
