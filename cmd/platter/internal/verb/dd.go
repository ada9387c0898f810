package verb

var dd = Verb{
	Name:    "dd",
	Summary: "Copy input to output with optional format conversion",
	Synopsis: []string{
		"[-f FMT|--image-opts] [-O OUTPUT_FMT] [-U] [--object OBJDEF]",
		"        [bs=BLOCK_SIZE] [count=BLOCKS] [skip=BLOCKS] if=INPUT of=OUTPUT",
	},
	StockUsage: []string{
		"[-f FMT|--image-opts] [-O OUTPUT_FMT] [-U]",
		"        [bs=BLOCK_SIZE] [count=BLOCKS] if=INPUT of=OUTPUT",
	},
	LongOrder: "help object format output-format image-opts force-share",
	Rows: []Row{
		format("specify format for INPUT explicitly"),
		imageOpts("INPUT", "--format"),
		{Short: 'O', Long: "output-format", Arg: "OUTPUT_FMT", Kind: Format,
			Help: []string{"format of the OUTPUT (default raw)"}},
		forceShare("images"),
		omitted(object()),
		{Operand: "bs=BLOCK_SIZE[kKMGTP]", Help: []string{"size of I/O block (default 512)"}},
		{Operand: "count=COUNT", Help: []string{"number of blocks to convert (default whole INPUT)"}},
		{Operand: "skip=COUNT", Omit: true, Help: []string{"number of blocks to leave out at the start of INPUT (default 0)"}},
		{Operand: "if=INPUT", Kind: File, Help: []string{"input file name (or image specification with --image-opts)"}},
		{Operand: "of=OUTPUT", Kind: File, Help: []string{"output file name to create"}},
	},
	Example: []string{"dd -O qcow2 bs=1M count=100 if=disk.raw of=head.qcow2", "makes an image of the first 100 MiB"},
}
