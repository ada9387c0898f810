package verb

var bitmap = Verb{
	Name:    "bitmap",
	Summary: "Perform modifications of the persistent bitmap in the image",
	Synopsis: []string{
		"( --merge SOURCE | --add | --remove | --clear |",
		"                --enable | --disable ).. [-f FMT | --image-opts]",
		"        [ -b SRC_FILENAME [-F SOURCE_FMT]] [-g SIZE[KMGTPE]] [--object OBJDEF]",
		"        FILENAME BITMAP",
	},
	LongOrder: "help object image-opts add remove clear enable disable merge granularity source-file source-format",
	Rows: []Row{
		format("specify FILENAME format explicitly").letterOnly(),
		imageOpts("FILENAME", "--format"),
		{Long: "add", Help: []string{"creates BITMAP, enables to record future edits"}},
		{Short: 'g', Long: "granularity", Arg: "SIZE[KMGTPE]", Kind: Size,
			Help: []string{"sets non-default bitmap granularity for --add to this size"},
			Stock: "   -g, --granularity SIZE[KMGTPE]\n" +
				"     sets non-default bitmap granularity for --add to this size\n"},
		{Long: "remove", Help: []string{"removes BITMAP"}},
		{Long: "clear", Help: []string{"clears BITMAP"}},
		{Long: "enable", Help: []string{"starts recording future edits to BITMAP"},
			Stock: "  --enable, --disable\n     starts and stops recording future edits to BITMAP\n"},
		{Long: "disable", Omit: true, Help: []string{"stops recording future edits to BITMAP"}},
		{Long: "merge", Arg: "SOURCE", Kind: Bitmap, Help: []string{"merges contents of the bitmap SOURCE into BITMAP"},
			Stock: "  --merge SRC_FILENAME\n     merges contents of SRC_FILENAME bitmap into BITMAP\n"},
		{Short: 'b', Long: "source-file", Arg: "SRC_FILENAME", Kind: File,
			Help:  []string{"select alternative source file for --merge"},
			Stock: "   -b, --source-file SRC_FILENAME\n     select alternative source file for --merge\n"},
		{Short: 'F', Long: "source-format", Arg: "SRC_FMT", Kind: Format,
			Help:  []string{"specify format for SRC_FILENAME explicitly"},
			Stock: "   -F, --source-format SRC_FMT\n     specify format for SRC_FILENAME explicitly\n"},
		omitted(object()),
		omitted(filename("image file name (or specification with --image-opts)")),
		{Operand: "BITMAP", Kind: Bitmap, Omit: true, Help: []string{"name of the bitmap to work on"}},
	},
	Note: []string{
		"Several actions may be given; they are done in the order of the command line. If one of them fails, the ones " +
			"before it stay done.",
	},
	Example: []string{
		"bitmap --add -g 64k disk.qcow2 monday", "starts to record changes in a new bitmap",
		"bitmap --merge tuesday disk.qcow2 week", "adds the changes of one bitmap to another",
	},
}
