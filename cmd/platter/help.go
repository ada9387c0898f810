package main

import (
	"fmt"
	"io"
	"strings"

	"platter/cmd/platter/internal/verb"
)

// stockVersion is what qemu-img is called that platter stands in for.
const stockVersion = "qemu-img version 10.0.2 (Debian 1:10.0.2+ds-2+deb13u1~bpo12+1)\n" +
	"Copyright (c) 2003-2025 Fabrice Bellard and the QEMU Project developers\n"

func (e *env) versionText() string {
	if e.stock {
		return stockVersion
	}
	return "platter version " + e.version + "\n"
}

const stockBottom = "See <https://qemu.org/contribute/report-a-bug> for how to report bugs.\n" +
	"More information on the QEMU project at <https://qemu.org>.\n"

// stockFormats are the drivers that the oracle lists. Scripts look for a name in the list, so that the ones which
// platter lacks (network storage of other vendors, and filters that only a running guest uses) stand in it, too; using
// one gives a clear error.
var stockFormats = strings.Fields("blkdebug blklogwrites blkverify bochs cloop compress copy-before-write copy-on-read dmg " +
	"file ftp ftps gluster host_cdrom host_device http https iscsi iser luks nbd nfs null-aio null-co nvme parallels " +
	"preallocate qcow qcow2 qed quorum raw rbd replication snapshot-access ssh throttle vdi vhdx vmdk vpc vvfat")

func (e *env) printHelp() {
	io.WriteString(e.stdout, e.versionText())
	summary := "QEMU disk image utility"
	if !e.stock {
		summary = "Shows disk images as files, and does what qemu-img does"
	}
	fmt.Fprintf(e.stdout, "%s.  Usage:\n\n  %s [standard options] COMMAND [--help | command options]\n\n", summary, e.name())
	io.WriteString(e.stdout, "Standard options:\n"+
		"  -h, --help\n     display this help and exit\n"+
		"  -V, --version\n     display version info and exit\n"+
		"  -T,--trace TRACE\n     specify tracing options:\n        [[enable=]<pattern>][,events=<file>][,file=<file>]\n\n")
	fmt.Fprintf(e.stdout, "Recognized commands (run %s COMMAND --help for command-specific help):\n\n", e.name())
	for _, v := range verb.All() {
		summary := v.Summary
		if e.stock && v.StockSummary != "" {
			summary = v.StockSummary
		}
		fmt.Fprintf(e.stdout, "  %s - %s\n", v.Name, summary)
	}
	if !e.stock {
		for _, v := range verb.Own() {
			fmt.Fprintf(e.stdout, "  %s - %s\n", v.Name, v.Summary)
		}
	}
	names := stockFormats
	if !e.stock {
		names = e.registry().Names()
	}
	io.WriteString(e.stdout, "\nSupported image formats:\n"+wrapNames(names))
	if e.stock {
		io.WriteString(e.stdout, "\n"+stockBottom)
	}
}

// wrapNames sets names in lines as qemu-img does.
func wrapNames(names []string) string {
	var b strings.Builder
	column := 99 // begin a line
	for _, n := range names {
		if column+len(n) > 75 {
			b.WriteString("\n ")
			column = 1
		}
		b.WriteString(" " + n)
		column += 1 + len(n)
	}
	return b.String() + "\n"
}
