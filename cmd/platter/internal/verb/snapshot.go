package verb

var snapshot = Verb{
	Name:    "snapshot",
	Summary: "List or manipulate snapshots within image",
	Synopsis: []string{
		"[-f FMT | --image-opts] [-l | -a|-c|-d SNAPSHOT]",
		"        [-U] [--object OBJDEF] FILENAME",
	},
	LongOrder: "help quiet object format image-opts force-share list apply create delete",
	Rows: []Row{
		{Short: 'q', Long: "quiet", Help: []string{"quiet operations"}, Stock: "  -q, --quiet\n      quiet operations\n"},
		{Short: 'f', Long: "format", Arg: "FMT", Kind: Format, Help: []string{"specify FILENAME format explicitly"},
			Stock: "  -f, --format FMT\n      specify FILENAME format explicitly\n"},
		imageOptsMisaligned("      "),
		{Short: 'U', Long: "force-share", Help: []string{"open image in shared mode for concurrent access"},
			Stock: "  -U, --force-share\n      open image in shared mode for concurrent access\n"},
		{Long: "object", Arg: "OBJDEF", Kind: Object, Help: []string{"QEMU user-creatable object (eg encryption key)"},
			Stock: "  --object OBJDEF\n      QEMU user-creatable object (eg encryption key)\n"},
		{Short: 'l', Long: "list", Help: []string{"list snapshots in FILENAME (the default)"},
			Stock: "  Operation, one of:\n    -l, --list\n       list snapshots in FILENAME (the default)\n"},
		{Short: 'c', Long: "create", Arg: "SNAPSHOT", Bare: true, Help: []string{"create named snapshot"},
			Stock: "    -c, --create SNAPSHOT\n       create named snapshot\n"},
		{Short: 'a', Long: "apply", Arg: "SNAPSHOT", Kind: Snapshot, Bare: true,
			Help:  []string{"apply named snapshot to the base"},
			Stock: "    -a, --apply SNAPSHOT\n       apply named snapshot to the base\n"},
		{Short: 'd', Long: "delete", Arg: "SNAPSHOT", Kind: Snapshot, Bare: true, Help: []string{"delete named snapshot"},
			Stock: "    -d, --delete SNAPSHOT\n       delete named snapshot\n"},
		{Operand: "FILENAME", Kind: File, Help: []string{"image file name (or specification with --image-opts)"},
			Stock: "  FILENAME - image file name (or specification with --image-opts)\n"},
	},
	Note: []string{
		"Applying a snapshot replaces what the disk holds now; create a snapshot of it first if it is still wanted.",
	},
	Example: []string{
		"snapshot -c before-upgrade disk.qcow2", "keeps the present state under a name",
		"snapshot -a before-upgrade disk.qcow2", "returns to it",
	},
}
