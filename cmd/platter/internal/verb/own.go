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
		{Short: 'o', Long: "options", Arg: "OPTIONS", Values: mountValues,
			Help: []string{"mount options, separated by commas; a comma in a value is doubled"}},
		imageOpts("IMAGE", "-o format="),
		object(),
		{Operand: "IMAGE", Kind: File, Help: []string{"image file, or a directory of images"}},
		{Operand: "MOUNTPOINT", Kind: File, Help: []string{"existing directory in which the tree appears"}},
	},
	Note: []string{
		"The command returns when the tree can be used. B<platter unmount> or B<umount> ends it; what was written is then in " +
			"the image. SIGTERM and SIGINT do the same. Of several images, or of a directory of images, each is a " +
			"directory of the tree with the name of its file; those of a directory are opened when they are used first.",
		"In the tree, B<disk.raw> is the guest disk; B<partitions> has its partitions, B<chain> the layers that it is made of, " +
			"B<snapshots> and B<bitmaps> a directory for each internal snapshot and dirty bitmap, which B<mkdir>, B<rmdir> and B<mv> " +
			"make, delete and rename. B<info.json>, B<map.json> and B<check.json> are what the commands of these names print, " +
			"B<stats.json> has figures, B<error_log> the words of the last failures.",
		"Lines written to B<ctl> are commands on the open image: B<snapshot>, B<bitmap>, B<resize>, B<commit>, B<rebase>, B<amend> and " +
			"B<check> as on the command line but without the name of the image, B<flush>, and B<cancel>, which ends the one that " +
			"runs; B<stats.json> shows how far that one is. Whoever uses the disk waits for it. None of the lines of one write is begun unless all are understood, " +
			"and when one fails those before it are taken back. What cannot be taken back (B<commit>, B<rebase>, B<amend>, " +
			"B<check -r>, B<resize --shrink>) has to be written alone; only B<flush> may stand beside it, and B<check> before it.",
		"A batch is what one B<write>(2) has. The B<printf> and B<echo> of a shell may write each line by itself, and so make " +
			"batches of one line. B<cat> FILE, with B<ctl> as its output, writes a file of up to 128 KiB in one piece, and so does B<cat> with a " +
			"here-document.",
		"With links to platter in /sbin, called mount.fuse.platter and umount.fuse.platter, B<mount -t fuse.platter> and lines of " +
			"B</etc/fstab> work, and B<umount> returns when the image is complete. Without the second link the kernel's B<umount> " +
			"returns at once, and the image is complete when the daemon has ended.",
		"B<fsync>(2) on the disk, or on a partition of it, makes what was written survive a loss of power; what nobody asked " +
			"for is flushed after 5 seconds. Linux does not tell file systems in user space of B<sync>(1).",
		"What a program has stored through a shared mapping of B<disk.raw> or of a partition (B<mmap>(2)) is in every snapshot taken " +
			"afterwards, and in what the commands of B<ctl> do that change the image, without B<msync>(2) (before Linux 6.16 except for " +
			"what the kernel is writing out by itself at that moment). A mapping of the disk and one of a partition see each " +
			"other's stores after B<msync>(2) only.",
		"An image that cannot be written, because of its format, its permissions or its file system, is mounted read-only with " +
			"a warning.",
	},
	Example: []string{"mount disk.qcow2 /mnt", "makes the guest disk readable and writable as /mnt/disk.raw"},
}

// mountValues are the options of -o.
var mountValues = []Value{
	{"ro, rw", "nothing in the image can be changed, or all can (the default)"},
	{"format=FMT", "the images' format, instead of guessing it"},
	{"snapshot=NAME", "show that internal snapshot, read-only"},
	{"overlay", "leave the image as it is, unless ctl is told to commit; what is written goes to a temporary file"},
	{"overlay=FILE", "the same, but what is written goes to FILE, which is made, or is a qcow2 image that has this one as its backing file"},
	{"refs=MODE", "what an image may make the mount open: file (the default) regular files and block devices, but extents in its own directory only; " +
		"samedir regular files in its own directory; none nothing; any everything, json: and network names included"},
	{"allow_other", "other users may look, as far as the permissions let them"},
	{"uid=N", "owner of the files (the mounting user)"},
	{"gid=N", "group of the files (the mounting user's)"},
	{"umask=N", "permissions that are taken away, octal (077)"},
	{"shrink", "truncate makes the disk smaller, too"},
	{"nonempty", "mount over a directory that is not empty"},
	{"idle=N", "close images of a directory that were not used for N seconds (30)"},
	{"sync, dirsync, noexec, noatime", "as for every file system; also nodiratime, strictatime and, for root, suid and dev; their opposites are the default"},
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
	Note: []string{
		"A mount whose daemon was killed by SIGKILL stays, with nobody behind it, and programs in the middle of a write or " +
			"of an access to a mapping may wait in it, even for their own end. B<platter unmount> ends such a mount, and their wait; a user " +
			"other than root can do so for his own mounts, where B</sys/fs/fuse/connections> is mounted. The image has everything that an B<fsync>(2) had acknowledged.",
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
