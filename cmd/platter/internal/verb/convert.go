package verb

var convert = Verb{
	Name:    "convert",
	Summary: "Copy one image to another with optional format conversion",
	Synopsis: []string{
		"[-f SRC_FMT|--image-opts] [-T SRC_CACHE] [--bitmaps [--skip-broken-bitmaps]]",
		"        [-o TGT_OPTS|--target-image-opts] [-t TGT_CACHE] [-n]",
		"        [-B BACKING_FILENAME [-F BACKING_FMT]]",
		"        SRC_FILENAME [SRC_FILENAME2 [...]] TGT_FILENAME",
	},
	LongOrder: "help quiet object image-opts source-image-opts source-format source-cache snapshot sparse-size output-format " +
		"options output-cache backing backing-format force-share target-image-opts salvage target-is-zero bitmaps " +
		"skip-broken-bitmaps rate parallel oob-writes copy-range-offloading",
	Rows: convertRows,
	Note: []string{
		"Several sources are joined, one behind the other. Without B<-n> TGT_FILENAME is created; what it held is lost.",
		"SNAPSHOT_PARAMS is the name or id of a snapshot, or B<snapshot.id=ID,snapshot.name=NAME>.",
	},
	Example: []string{
		"convert -p -O qcow2 disk.raw disk.qcow2", "makes a qcow2 image of a raw disk, showing progress",
		"convert -c -O qcow2 disk.qcow2 small.qcow2", "makes a compressed copy",
	},
}

var convertRows = []Row{
	quiet("quiet operations"),
	{Short: 'p', Extra: "progress", Help: []string{"show operation progress"},
		Stock: "  -p, --progress\n     show operation progress\n"},
	{Short: 'f', Long: "source-format", Arg: "SRC_FMT", Kind: Format,
		Help: []string{"specify SRC_FILENAME source image format explicitly"}},
	{Long: "image-opts source-image-opts", Help: []string{
		"indicates that SRC_FILENAME is a complete image specification",
		"instead of a file name (incompatible with --source-format)",
	}, Stock: "  --source-image-opts\n     indicates that SRC_FILENAME is a complete image specification\n" +
		"     instead of a file name (incompatible with --source-format)\n"},
	{Short: 'l', Long: "snapshot", Extra: "source-snapshot", Arg: "SNAPSHOT_PARAMS", Kind: Snapshot,
		Help:  []string{"specify source snapshot parameters"},
		Stock: "  -l, --source-snapshot SNAPSHOT_PARAMS\n     specify source snapshot parameters\n"},
	{Short: 'T', Long: "source-cache", Arg: "SRC_CACHE", Kind: Cache, Help: []string{"source image(s) cache mode (writeback)"}},
	{Short: 'O', Long: "output-format", Extra: "target-format", Arg: "TGT_FMT", Kind: Format,
		Help:  []string{"specify TGT_FILENAME image format (default is raw)"},
		Stock: "  -O, --target-format TGT_FMT\n     specify TGT_FILENAME image format (default is raw)\n"},
	{Long: "target-image-opts", Help: []string{
		"indicates that TGT_FILENAME is a complete image specification",
		"instead of a file name (incompatible with --output-format)",
	}},
	{Short: 'o', Long: "options", Extra: "target-options", Arg: "TGT_OPTS", Kind: FormatOptions,
		Help:  []string{"format-specific options of TGT_FILENAME ('-o help' for list)"},
		Stock: "  -o, --target-options TGT_OPTS\n     TARGET_FMT-specific options\n"},
	{Short: 'c', Extra: "compress", Help: []string{"create compressed output image (if the format can)"},
		Stock: "  -c, --compress\n     create compressed output image (qcow and qcow2 format only)\n"},
	{Short: 't', Long: "output-cache", Extra: "target-cache", Arg: "TGT_CACHE", Kind: Cache,
		Help:  []string{"cache mode when opening output image (unsafe)"},
		Stock: "  -t, --target-cache TGT_CACHE\n     cache mode when opening output image (unsafe)\n"},
	{Short: 'B', Long: "backing", Arg: "BACKING_FILENAME", Kind: File,
		Help: []string{"create output to be a CoW on top of BACKING_FILENAME"}},
	{Short: 'F', Long: "backing-format", Arg: "BACKING_FMT", Kind: Format,
		Help: []string{"specify BACKING_FILENAME image format explicitly"}},
	{Short: 'n', Extra: "no-create", Help: []string{"omit target volume creation (eg on rbd)"},
		Stock: "  -n, --no-create\n     omit target volume creation (eg on rbd)\n"},
	{Long: "target-is-zero", Help: []string{"assume that the target reads as zeroes (needs -n)"}, Stock: "  --target-is-zero\n"},
	{Short: 'S', Long: "sparse-size", Arg: "SPARSE_SIZE", Kind: Size, Help: []string{
		"consecutive bytes of zeroes (default 4k) that are worth a hole;",
		"0 allocates the whole output and looks for no zeroes",
	}, Stock: "  -S, --sparse-size SPARSE_SIZE\n     XXX todo\n"},
	{Long: "bitmaps", Help: []string{"also copy any persistent bitmaps present in source"}},
	{Long: "skip-broken-bitmaps", Help: []string{"skip (do not error out) any broken bitmaps"}},
	forceShare("images"),
	{Short: 'r', Long: "rate", Arg: "RATE", Kind: Size, Help: []string{"I/O rate limit"}},
	{Short: 'm', Long: "parallel", Arg: "NUM_COROUTINES", Help: []string{"specify parallelism (default 8)"}},
	{Short: 'C', Long: "copy-range-offloading", Help: []string{"use copy_range offloading"}},
	{Long: "salvage", Help: []string{"go on after read errors; what can not be read becomes zeroes"},
		Stock: "  --salvage\n     XXX todo\n"},
	{Short: 'W', Long: "oob-writes", Help: []string{"enable out-of-order writes to improve performance"}},
	object(),
	{Operand: "SRC_FILENAME", Kind: File, Help: []string{"source image file name (or specification with --image-opts)"}},
	{Operand: "TGT_FILENAME", Kind: File, Help: []string{"target (output) image file name"}},
}
