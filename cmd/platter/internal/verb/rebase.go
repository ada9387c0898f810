package verb

var rebase = Verb{
	Name:    "rebase",
	Summary: "Change backing file of the image",
	Synopsis: []string{
		"[-f FMT | --image-opts] [-t CACHE] [-q] [-U] [-p]",
		"        [-b BACKING_FILENAME [-F BACKING_FMT] [-T BACKING_CACHE]] [-u]",
		"        [--object OBJDEF] [-c] FILENAME",
		"Rebases FILENAME on top of BACKING_FILENAME or no backing file",
	},
	LongOrder: "help quiet progress object image-opts force-share format cache compress backing backing-format " +
		"backing-cache backing-unsafe",
	Rows: []Row{
		quiet("quiet operation"),
		progress("show progress indicator"),
		format("specify FILENAME format explicitly"),
		imageOpts("FILENAME", "--format"),
		{Short: 't', Long: "cache", Arg: "CACHE", Kind: Cache, Help: []string{"cache mode for FILENAME (writeback)"}},
		{Short: 'b', Long: "backing", Arg: `BACKING_FILENAME|""`, Kind: File,
			Help: []string{"rebase onto this file (or no backing file)"}},
		{Short: 'F', Long: "backing-format", Arg: "BACKING_FMT", Kind: Format,
			Help: []string{"specify format for BACKING_FILENAME"}},
		{Short: 'T', Long: "backing-cache", Arg: "CACHE", Kind: Cache,
			Help: []string{"BACKING_FILENAME cache mode (writeback)"}},
		{Short: 'u', Long: "backing-unsafe", Help: []string{"do not fail if BACKING_FILENAME can not be read"}},
		{Short: 'c', Long: "compress", Help: []string{"compress image (when image supports this)"}},
		forceShare("image"),
		object(),
		filename("image file name (or specification with --image-opts)"),
	},
	Note: []string{
		"By default the guest sees the same data afterwards: what differs between the old and the new backing file is copied " +
			"into FILENAME. With B<-u> only the name is changed, which is right only if both backing files hold the same data.",
	},
	Example: []string{"rebase -b new.qcow2 -F qcow2 overlay.qcow2", "puts overlay.qcow2 on top of new.qcow2"},
}
