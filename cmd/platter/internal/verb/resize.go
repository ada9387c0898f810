package verb

var resize = Verb{
	Name:    "resize",
	Summary: "Resize the image to the new size",
	Synopsis: []string{
		"[-f FMT | --image-opts] [--preallocation PREALLOC] [--shrink]",
		"        [--object OBJECTDEF] [-q] FILENAME [+-]SIZE[bkKMGTPE]",
	},
	LongOrder: "help quiet object format image-opts preallocation shrink",
	InOrder:   true,
	Rows: []Row{
		quiet("quiet operation"),
		format("specify FILENAME format explicitly"),
		imageOptsMisaligned("     "),
		{Long: "shrink", Help: []string{"allow operation when new size is smaller than original"}},
		{Long: "preallocation", Arg: "PREALLOC", Kind: Choice, Choices: []string{"off", "metadata", "falloc", "full"},
			Help: []string{"specify preallocation type for the new areas"}},
		object(),
		filename("image file (specification) to resize"),
		{Operand: "[+-]SIZE[bkKMGTPE]", Kind: Size, Help: []string{
			"new image size or amount by which to shrink/grow,",
			"with optional suffix (1024-based multiplies)",
		}},
	},
	Note: []string{
		"Before an image is made smaller, the partitions and file systems in it must be made smaller; afterwards what was " +
			"behind the new end is lost. After it was made larger they have to be enlarged, too, to use the new room.",
	},
	Example: []string{"resize disk.qcow2 +10G", "adds 10 GiB"},
}
