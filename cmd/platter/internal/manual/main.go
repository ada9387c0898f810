package manual

import "platter/cmd/platter/internal/verb"

// chapter is a part of platter.1 with paragraphs, and terms that are explained.
type chapter struct {
	title string
	text  []string
	items [][2]string
}

func mainPage(version string) string {
	p := newPage("platter", version, "Show disk images as files, and do what qemu-img does")
	p.section("SYNOPSIS")
	p.WriteString("\\fBplatter\\fR [\\fB\\-T\\fR \\fITRACE\\fR] \\fICOMMAND\\fR [\\fIOPTIONS\\fR] [\\fIOPERANDS\\fR]\n" +
		".br\n\\fBplatter\\fR \\fB\\-\\-help\\fR|\\fB\\-\\-version\\fR\n")
	p.section("DESCRIPTION")
	p.paragraph("B<platter mount> shows a disk image as a tree of ordinary files: the guest disk, its partitions, each layer of " +
		"its backing chain, its snapshots and its bitmaps. The other commands create, convert, check and change images; they are " +
		"those of B<qemu-img>, with the same options.")
	p.section("COMMANDS")
	for _, v := range Verbs() {
		p.item("\\fB"+escape("platter-"+v.Name)+"\\fR(1)", sentence([]string{v.Summary}))
	}
	p.section("OPTIONS")
	p.item(`\fB\-h\fR, \fB\-\-help\fR`, "Show a summary and exit.")
	p.item(`\fB\-V\fR, \fB\-\-version\fR`, "Show the version and exit.")
	p.item(`\fB\-T\fR, \fB\-\-trace\fR \fITRACE\fR`,
		"Accepted so that scripts for B<qemu-img> run. No events are recorded; B<help> lists the names.")
	for _, c := range chapters {
		p.section(c.title)
		for _, text := range c.text {
			p.paragraph(text)
		}
		for _, item := range c.items {
			p.item(`\fB`+escape(item[0])+`\fR`, item[1])
		}
	}
	p.section("SEE ALSO")
	for i, v := range append(verb.All(), verb.Own()...) {
		if i > 0 {
			p.WriteString(",\n")
		}
		p.WriteString(`\fB` + escape("platter-"+v.Name) + `\fR(1)`)
	}
	p.WriteString("\n")
	return p.String()
}

var chapters = []chapter{
	{title: "ARGUMENTS", text: []string{
		"Options and operands may be mixed. A value follows its option, or is stuck to it: B<-f qcow2>, B<-fqcow2>, " +
			"B<--format qcow2>, B<--format=qcow2>. Letters may be joined (B<-qp>), and a long name may be cut short as long as it " +
			"stays unambiguous. B<--> ends the options. If the variable POSIXLY_CORRECT is set, the first operand ends them.",
	}},
	{title: "IMAGE NAMES", text: []string{
		"Where a command wants an image, it takes a path, or one of these:",
	}, items: [][2]string{
		{"file:PATH", "A file, even if its path looks like one of the following."},
		{"json:{...}", "A JSON object with the options of the image and of the images below it, such as B<driver>, B<file>, B<backing>."},
		{"nbd://HOST[:PORT]/NAME, nbd+unix:///NAME?socket=PATH", "An export of an NBD server."},
		{"fat:[floppy:][12:|16:|32:]DIRECTORY", "A directory, shown as a disk with a FAT file system, for reading."},
		{"http://..., https://...", "A file of a web server, for reading."},
		{"key=value,...", "With B<--image-opts>, options as in json:, with dots between the levels: B<driver=qcow2,file.filename=PATH>."},
	}},
	{title: "SIZES", text: []string{
		"A size is a number of bytes, or a number with the suffix k, M, G, T, P or E for powers of 1024, in either case. With a " +
			"suffix the number may have a fraction: B<1.5G>. Hexadecimal numbers begin with 0x and take no suffix.",
	}},
	{title: "CACHE MODES", items: [][2]string{
		{"writeback", "The host's page cache is used; data is safe after a flush. The usual default."},
		{"none", "The page cache is bypassed (O_DIRECT). B<off> is the same."},
		{"writethrough", "As writeback, with a flush after each write."},
		{"directsync", "As none, with a flush after each write."},
		{"unsafe", "As writeback, and flushes are ignored. What a crash of the host leaves behind is undefined."},
	}},
	{title: "FORMAT OPTIONS", text: []string{
		"B<-o> takes a list B<key=value,...>; a comma in a value is doubled. It may be given several times. B<-o help> lists the keys " +
			"of the format. B<-f> and B<-O> name the format; without B<-f> the format of an existing image is guessed from its " +
			"content, which is unwise for images that a guest could write from the first byte (raw).",
	}},
	{title: "OBJECTS", text: []string{
		"B<--object> defines something that options refer to by its id. A passphrase is " +
			"B<--object secret,id=ID,file=PATH>, or B<data=TEXT> (which other users can see in the process list); with " +
			"B<format=base64> it is decoded, with B<keyid=ID,iv=BASE64> decrypted by another secret (AES-256-CBC). " +
			"B<tls-creds-x509>, B<tls-creds-psk> and B<throttle-group> are known, too. B<--object TYPE,help> lists the properties.",
	}},
	{title: "SIGNALS", text: []string{
		"SIGINT, SIGTERM and SIGHUP end a command after it has made its images whole; the exit status is 1. A second one ends it " +
			"at once. SIGUSR1 makes a long command say how far it is.",
	}},
	{title: "EXIT STATUS", text: []string{
		"0 if all went well, and 1 if not. B<check> and B<compare> have further values, which their pages list.",
	}},
	{title: "AS QEMU-IMG", text: []string{
		"If the name under which the program is called begins with B<qemu-img> (a symbolic link does), it takes the options of " +
			"B<qemu-img> 10.0.2 and no others, and prints the same output, messages and help.",
	}},
	{title: "COMPLETION", text: []string{
		"B<platter completion bash>, B<zsh> or B<fish> prints a script that lets the shell complete commands, options, formats, " +
			"format options, snapshots and bitmaps.",
	}},
}
