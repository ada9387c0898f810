package verb

var create = Verb{
	Name:    "create",
	Summary: "Create and format new image file",
	Synopsis: []string{
		"[-f FMT] [-o FMT_OPTS] [-b BACKING_FILENAME [-F BACKING_FMT]]",
		"        [--object OBJDEF] [-u] FILENAME [SIZE[bkKMGTPE]]",
	},
	LongOrder: "help quiet object format backing backing-format backing-unsafe options",
	Rows: []Row{
		quiet("quiet operations"),
		format("specifies format of the new image, default is raw"),
		{Short: 'o', Long: "options", Arg: "FMT_OPTS", Kind: FormatOptions,
			Help:  []string{"format-specific options ('-o help' for list)"},
			Stock: "  -o, --options FMT_OPTS\n     format-specific options ('-o list' for list)\n"},
		{Short: 'b', Long: "backing", Arg: "BACKING_FILENAME", Kind: File, Help: []string{
			"stack new image on top of BACKING_FILENAME",
			"(for formats which support stacking)",
		}},
		{Short: 'F', Long: "backing-format", Arg: "BACKING_FMT", Kind: Format,
			Help: []string{"specify format of BACKING_FILENAME"}},
		{Short: 'u', Long: "backing-unsafe", Help: []string{"do not fail if BACKING_FILENAME can not be read"},
			Stock: "  -u, --backing-unsafe\n     do not fail if BACKING_FMT can not be read\n"},
		object(),
		{Operand: "FILENAME", Kind: File, Help: []string{"image file to create.  It will be overwritten if it exists"},
			Stock: "  FILENAME\n     image file to create.  It will be overridden if exists\n"},
		{Operand: "SIZE", Kind: Size, Help: []string{
			"image size with optional suffix (multiplies in 1024)",
			"SIZE is required unless BACKING_FILENAME is specified,",
			"in which case it will be the same as size of BACKING_FILENAME",
		}, Stock: "  SIZE\n" +
			"     image size with optional suffix (multiplies in 1024)\n" +
			"     SIZE is required unless BACKING_IMG is specified,\n" +
			"     in which case it will be the same as size of BACKING_IMG\n"},
	},
	Note: []string{
		"With -b, differencing images of the formats vpc (VHD) and vhdx are made, which have the size of BACKING_FILENAME. " +
			"Called as qemu-img, platter refuses that, as qemu-img does.",
	},
	Example: []string{
		"create -f qcow2 disk.qcow2 20G", "makes an empty disk of 20 GiB",
		"create -f qcow2 -b disk.qcow2 -F qcow2 overlay.qcow2", "makes an overlay that keeps changes apart from disk.qcow2",
		"create -f vhdx -b disk.vhdx -F vhdx child.vhdx", "makes a differencing image, as of vpc (VHD) images, too",
	},
}
