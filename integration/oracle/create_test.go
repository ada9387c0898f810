package oracle

import (
	"fmt"
	"strings"
)

var sizes = strings.Fields(`0 1 511 512 513 1000 4095 65535 65536 65537 1M 1m 1.5M 3M 16777217 33G 1T 2T 1k 1K 1kB 1b 1B
	1KiB 1MM 1M1 M 0x10000 0x1G 0X200 010 1e6 1.0000001M .5M 5.M 1. 1.5 0.3k -1 -1M +1M +0 abc 1,5M 1:2 1/2 1P 7E 8E 16E
	7.9999E 9223372036854775295 9223372036854775807 9223372036854775808 18446744073709551615 18446744073709551616
	99999999999999999999999 nan inf 1_000 ١`)

// createCases: every option with every value, pairs of options, sizes, backing files, names, and malformed lists.
func createCases(g *group, f format) {
	need := ""
	if f.secret != "" {
		need = "--object " + f.secret + " "
	}
	required := f.fixture
	list := func(opts ...string) string {
		if required != "" {
			opts = append([]string{required}, opts...)
		}
		return strings.Join(opts, ",")
	}
	create := func(opts, rest string) string {
		if opts != "" {
			opts = "-o " + opts + " "
		}
		return fmt.Sprintf("create %s-f %s %s%s", need, f.name, opts, rest)
	}
	target := "out." + f.name
	for _, o := range f.options {
		for _, v := range strings.Fields(o.values) {
			g.add("", true, create(list(o.key+"="+v), target+" 4M"))
			g.add("", true, create(list(o.key+"="+v), target))
		}
		g.add("", true, create(list(o.key), target+" 4M"), create(list(o.key+"="), target+" 4M"),
			create(list("no"+o.key), target+" 4M"), create(list(o.key+"=on=off"), target+" 4M"))
	}
	for i, a := range f.options {
		for _, b := range f.options[i+1:] {
			va, vb := strings.Fields(a.values)[0], strings.Fields(b.values)[0]
			g.add("", true, create(list(a.key+"="+va, b.key+"="+vb), target+" 2M"))
		}
	}
	for _, s := range sizes {
		if f.name == "qcow" && len(s) > 1 && (strings.HasSuffix(s, "E") || len(s) > 15) {
			continue // stock writes the tables of the largest disks for minutes
		}
		g.add("", true, create(list(), target+" '"+s+"'"))
	}
	for _, s := range []string{"1M", "0", "x", "-1", "8E", "1.5k"} {
		g.add("", true, create(list("size="+s), target))
	}
	for _, l := range f.lines(createTable) {
		g.add("std/"+f.name, true, l)
	}
	for _, l := range f.lines(createBackingTable) {
		g.add("std/"+f.name, true, l)
	}
	if f.backing {
		for _, l := range f.lines(createChainTable) {
			g.add("chain/"+f.name, true, l)
		}
	}
}

const createTable = `
	create -f $F out.$F
	create -f $F $O -q out.$F 4M
	create -q $O -f $F out.$F 4M
	create -f $F out.$F 4M $O
	create -f $F $O disk.$F 1M
	create -f $F $O folder 1M
	create -f $F $O missing/out.$F 1M
	create -f $F $O folder/out.$F 1M
	create -f $F $O file:out.$F 1M
	create -f $F $O nosuch:out.$F 1M
	create -f $F $O ./a:b.$F 1M
	create -f $F $O '' 1M
	create -f $F $O out.$F ''
	create -f $F $O out.$F 1M 2M
	create -f $F $O -o size=2M out.$F 1M
	create -f $F $O -o size=1M -o size=2M out.$F
	create -f $F $O -o size=1M,size=2M out.$F
	create -f $F -o help
	create -f $F -o '?'
	create -f $F -o help out.$F
	create -f $F -o help out.$F 1M
	create -f $F -o size=1M,help out.$F
	create -f $F -o help,size=1M out.$F
	create -f $F -o help=1 out.$F 1M
	create -f $F -o size=1M -o help out.$F
	create -f $F -o help nosuch:out.$F
	create -f $F -o help file:out.$F
	create -f $F -o '' out.$F 1M
	create -f $F -o , out.$F 1M
	create -f $F -o ,, out.$F 1M
	create -f $F -o = out.$F 1M
	create -f $F -o =1 out.$F 1M
	create -f $F -o nosuch out.$F 1M
	create -f $F -o nosuch=1 out.$F 1M
	create -f $F -o nosuch=1 out.$F
	create -f $F -o nosuch,size=1M out.$F
	create -f $F -o size=1M, out.$F
	create -f $F -o ,size=1M out.$F
	create -f $F -o size=1M,,x out.$F
	create -f $F -o size='1 M' out.$F
	create -f $F -o ' size=1M' out.$F
	create -f $F -o SIZE=1M out.$F
	create -f $F out.$F 1M -o
	create -o size=1M -f $F out.$F
	create -f $F -f raw out.$F 1M
	create -f raw -f $F $O out.$F 1M
	create -f nosuch -f $F $O out.$F 1M
	create -f $F --object out.$F 1M
	create --format $F $O out.$F 1M
	create --format=$F $O out.$F 1M
	create --form $F $O out.$F 1M
	create -f$F $O out.$F 1M
	create -qf$F $O out.$F 1M
	create out.$F 1M
`

const createBackingTable = `
	create -f $F $O -b plain.raw -F raw out.$F
	create -f $F $O -b plain.raw -F raw out.$F 8M
	create -f $F $O -b plain.raw -F raw out.$F 1M
	create -f $F $O -b plain.raw out.$F
	create -f $F $O -b plain.raw -F nosuch out.$F
	create -f $F $O -b plain.raw -F qcow2 out.$F
	create -f $F $O -b plain.raw -F '' out.$F
	create -f $F $O -b disk.$F -F $F out.$F
	create -f $F $O -b disk.$F out.$F
	create -f $F $O -b disk.$F -F raw out.$F 4M
	create -f $F $O -b '' out.$F 4M
	create -f $F $O -b '' -F raw out.$F 4M
	create -f $F $O -F raw out.$F 4M
	create -f $F $O -b missing.raw -F raw out.$F
	create -f $F $O -b missing.raw -F raw out.$F 4M
	create -f $F $O -u -b missing.raw -F raw out.$F
	create -f $F $O -u -b missing.raw -F raw out.$F 4M
	create -f $F $O -u -b missing.raw out.$F 4M
	create -f $F $O -u out.$F 4M
	create -f $F $O -u -b plain.raw -F nosuch out.$F 4M
	create -f $F $O -b folder -F raw out.$F
	create -f $F $O -b junk.txt -F raw out.$F
	create -f $F $O -b junk.txt -F $F out.$F
	create -f $F $O -b out.$F -F raw out.$F 1M
	create -f $F $O -b out.$F -F raw out.$F
	create -f $F $O -o backing_file=plain.raw,backing_fmt=raw out.$F
	create -f $F $O -o backing_file=plain.raw out.$F
	create -f $F $O -o backing_fmt=raw out.$F 1M
	create -f $F $O -o backing_file=plain.raw -b plain.raw -F raw out.$F
	create -f $F $O -o backing_fmt=raw -b plain.raw out.$F
	create -f $F $O -o backing_fmt=qcow2 -F raw -b plain.raw out.$F
	create -f $F $O -b file:plain.raw -F raw out.$F
	create -f $F $O -b 'json:{"driver":"raw","file":{"driver":"file","filename":"plain.raw"}}' -F raw out.$F
	create -f $F $O -b 'json:{"driver":"raw","file.filename":"plain.raw"}' out.$F 2M
	create -f $F $O -b nosuch:plain.raw -F raw out.$F
	create -f $F $O -b plain.raw -F raw folder/out.$F
	create -f $F $O -b ../plain.raw -F raw folder/out.$F
	create -f $F $O -b plain.raw -F raw -b disk.$F -F $F out.$F
	create -f $F $O -b null-co:// -F raw out.$F 1M
	create -q -f $F $O -b plain.raw -F raw out.$F
`

const createChainTable = `
	create -f $F -b top.$F -F $F out.$F
	create -f $F -b top.$F -F $F out.$F 2M
	create -f $F -b orphan.$F -F $F out.$F
	create -f $F -b orphan.$F -F $F out.$F 1M
	create -f $F -u -b orphan.$F -F $F out.$F
	create -f $F -b short.$B -F $B out.$F 8M
	create -f $F -b base.$B -F $B base.$B
	create -f $F -b mid.$F -F $F top.$F
`
