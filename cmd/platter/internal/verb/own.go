package verb

// Own lists the verbs that only platter has.
func Own() []*Verb {
	return []*Verb{&mount, &unmount, &list, &completion, &helpVerb, &versionVerb}
}

var mount = Verb{
	Name:      "mount",
	Summary:   "Show images as a tree of files",
	Synopsis:  []string{"[-r] [-f] [-o OPTIONS] [--image-opts] [--object OBJDEF]", "        IMAGE... MOUNTPOINT"},
	LongOrder: "help read-only foreground options image-opts object",
	Rows: []Row{
		{Short: 'r', Long: "read-only", Help: []string{"nothing in the image can be changed"}},
		{Short: 'f', Long: "foreground", Help: []string{"stay in the foreground instead of becoming a daemon"}},
		{Short: 'o', Long: "options", Arg: "OPTIONS", Help: []string{"mount options, separated by commas"}},
		imageOpts("IMAGE", "-o format="),
		object(),
		{Operand: "IMAGE", Kind: File, Help: []string{"image file, or a directory of images"}},
		{Operand: "MOUNTPOINT", Kind: File, Help: []string{"existing directory in which the tree appears"}},
	},
	Note: []string{
		"The command returns when the tree can be used. B<platter unmount> or B<umount> ends it; what was written is then in " +
			"the image.",
	},
	Example: []string{"mount disk.qcow2 /mnt", "makes the guest disk readable and writable as /mnt/disk.raw"},
}

var unmount = Verb{
	Name:      "unmount",
	Summary:   "End a mount when the image is complete on disk",
	Synopsis:  []string{"[-l] MOUNTPOINT"},
	LongOrder: "help lazy",
	Rows: []Row{
		{Short: 'l', Long: "lazy", Help: []string{"detach at once; the image is complete when its last user is gone"}},
		{Operand: "MOUNTPOINT", Kind: File, Help: []string{"directory in which the tree is"}},
	},
	Example: []string{"unmount /mnt", "waits until everything is in the image"},
}

var list = Verb{
	Name:      "list",
	Summary:   "List the mounts",
	Synopsis:  []string{"[--output human|json]"},
	LongOrder: "help output",
	Rows:      []Row{output("output format (default human)")},
}

var completion = Verb{
	Name:      "completion",
	Summary:   "Print a script that completes commands in a shell",
	Synopsis:  []string{"bash|zsh|fish"},
	LongOrder: "help",
	Rows: []Row{
		{Operand: "bash|zsh|fish", Kind: Choice, Choices: []string{"bash", "zsh", "fish"},
			Help: []string{"the shell for which the script is"}},
	},
	Example: []string{"completion bash > /etc/bash_completion.d/platter", "installs the completion for all users"},
}

var helpVerb = Verb{
	Name:      "help",
	Summary:   "Show help, in general or for a command",
	Synopsis:  []string{"[COMMAND]"},
	LongOrder: "help",
	Rows:      []Row{{Operand: "COMMAND", Help: []string{"command to describe"}}},
}

var versionVerb = Verb{
	Name:      "version",
	Summary:   "Show the version",
	Synopsis:  []string{""},
	LongOrder: "help",
}

// FindOwn gives the verb of that name among platter's own, nil if there is none.
func FindOwn(name string) *Verb {
	for _, v := range Own() {
		if v.Name == name {
			return v
		}
	}
	return nil
}
