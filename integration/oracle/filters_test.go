package oracle

import "strings"

// Filters: each verb through blkdebug, throttle and copy-on-read, in the fixture std/qcow2 if no other is named.

// blkdebug is the --image-opts form of a qcow2 image whose file is watched by rules.
func blkdebug(file, rules string) string {
	return "driver=qcow2,file.driver=blkdebug,file.image.driver=file,file.image.filename=" + file + rules
}

// inject is one rule, once for all requests behind an event.
func inject(event, more string) string { return ",file.inject-error.0.event=" + event + more }

// faultLines are commands for the image @, in which % stands for the rules; the events are those for which stock's
// outcome, files included, does not depend on how metadata is cached.
var faultLines = []struct{ verb, line, events string }{
	{"convert", "convert -m 1 -n --target-image-opts -f raw plain.raw @blank.qcow2",
		"none read_aio write_aio cluster_alloc cow_read read_backing_aio l1_grow_write_table"},
	{"convert", "convert -m 1 --image-opts -O raw @disk.qcow2 out.raw",
		"none read_aio l2_load l1_update reftable_load write_aio pwritev flush_to_disk read_compressed"},
	{"convert", "convert -m 1 --salvage --image-opts -O raw @disk.qcow2 out.raw", "l2_load write_aio"},
	{"convert", "convert -m 1 -n -c --target-image-opts -f raw plain.raw @blank.qcow2", "none read_aio cluster_alloc_bytes"},
	{"resize", "resize --image-opts @disk.qcow2 40G", "none read_aio cluster_alloc l1_grow_alloc_table write_aio"},
	{"check", "check --image-opts @disk.qcow2", "none read_aio l2_load refblock_load write_aio reftable_load"},
	{"snapshot", "snapshot --image-opts -c one @disk.qcow2", "none read_aio write_aio"},
	{"snapshot", "snapshot --image-opts -l @disk.qcow2", "none read_aio reftable_load"},
	{"amend", "amend --image-opts -o compat=0.10 @disk.qcow2", "none read_aio write_aio"},
	{"compare", "compare --image-opts @disk.qcow2 driver=raw,file.filename=plain.raw", "none read_aio l2_load"},
	{"map", "map --image-opts @disk.qcow2", "none read_aio l2_load"},
	{"map", "map --output=json --image-opts @disk.qcow2", "none read_aio"},
	{"info", "info --image-opts @disk.qcow2", "none read_aio l2_load reftable_load"},
	{"measure", "measure -O raw --image-opts @disk.qcow2", "none l2_load read_aio"},
	{"dd", "dd --image-opts if=@disk.qcow2 of=out.raw", "none read_aio l2_load"},
	{"rebase", "rebase -u --image-opts -b '' @disk.qcow2", "none read_aio write_aio"},
}

// otherFormats are read and written through blkdebug as well; the events are those that leave the same behind.
var otherFormats = []struct{ format, reads, writes string }{
	{"raw", "none read_aio write_aio pwritev flush_to_disk", "none write_aio read_aio pwritev"},
	{"qcow", "none read_aio l2_load write_aio", "none write_aio l2_update l1_update pwritev"},
	{"qed", "none read_aio l2_load write_aio", "none read_aio"},
	{"vmdk", "none read_aio l2_load write_aio", "none write_aio read_aio"},
	{"vdi", "none read_aio", "none write_aio pwritev"},
	{"vpc", "none read_aio", "none write_aio pwritev"},
	{"vhdx", "none read_aio", "none write_aio pwritev"},
	{"parallels", "read_aio", "write_aio"},
}

// ruleLines try the options of rules, %, on reading disk.qcow2.
var ruleLines = words(`
	.errno=28 .errno=0 .errno=x .errno=99999 .sector=5 .sector=2048,file.inject-error.0.iotype=read .once=on .once=x .immediately=on .iotype=read
	.iotype=write .iotype=write-zeroes .iotype=discard .iotype=flush .iotype=block-status .iotype=nosuch .state=1 .state=2 .nosuch=1`)

// nodeLines are graphs with blkdebug that info is to show, or to refuse.
var nodeLines = words(`
	inject-error.0.event=nosuch inject-error.0.errno=5 inject-error.1.event=none inject-error.event=none inject-error=3
	inject-error.0=3 set-state.0.event=none set-state.0.event=l2_load,set-state.0.new_state=x
	set-state.0.event=none,set-state.0.new_state=7,inject-error.0.event=read_aio,inject-error.0.state=7
	align=3 align=512 align=x max-transfer=1000 max-transfer=4M,align=1M max-transfer=1,align=1 opt-write-zero=3,align=512
	max-write-zero=3 opt-discard=3 max-discard=5 take-child-perms.0=write take-child-perms.0=foo take-child-perms.0=resize
	unshare-child-perms.0=write nosuch=1 image.nosuch=1 x-image=disk.qcow2 config=rules config=nosuch
	max-transfer=9999999999999 opt-discard=9999999999999`)

// filterLines are whole command lines, by verb.
var filterLines = map[string]string{
	"info": `
		info blkdebug::disk.qcow2
		info blkdebug:disk.qcow2
		info blkdebug:rules:disk.qcow2
		info blkdebug:norules:disk.qcow2
		info blkdebug:junk.txt:disk.qcow2
		info blkdebug::missing.qcow2
		info blkdebug::blkdebug::disk.qcow2
		info -f raw blkdebug::disk.qcow2
		info -f blkdebug disk.qcow2
		info --output=json blkdebug:rules:disk.qcow2
		info --image-opts driver=blkdebug
		info --image-opts driver=blkdebug,image.filename=disk.qcow2
		info --image-opts driver=blkdebug,file.filename=disk.qcow2
		info --image-opts driver=blkdebug,image.driver=qcow2,image.file.filename=disk.qcow2
		info json:{"driver":"qcow2","file":{"driver":"blkdebug","image":{"driver":"file","filename":"disk.qcow2"},"inject-error":[{"event":"read_aio","errno":5,"once":true,"sector":3}],"set-state":[{"event":"none","new_state":42}]}}
		info --image-opts driver=throttle,throttle-group=g,file.driver=qcow2,file.file.filename=disk.qcow2 --object throttle-group,id=g,x-iops-total=9000
		info --image-opts driver=throttle,file.driver=qcow2,file.file.filename=disk.qcow2
		info --image-opts driver=throttle,throttle-group=none,file.driver=qcow2,file.file.filename=disk.qcow2
		info --image-opts driver=throttle,throttle-group=s,file.driver=qcow2,file.file.filename=disk.qcow2 --object secret,id=s,data=x
		info --output=json --image-opts driver=throttle,throttle-group=g,file.driver=qcow2,file.file.filename=disk.qcow2 --object throttle-group,id=g
		info json:{"driver":"qcow2","file":{"driver":"throttle","throttle-group":"g","file":{"driver":"file","filename":"disk.qcow2"}}} --object throttle-group,id=g
		info --image-opts driver=copy-on-read,file.driver=qcow2,file.file.filename=disk.qcow2
		info --image-opts driver=copy-on-read,nosuch=1,file.driver=qcow2,file.file.filename=disk.qcow2
		info json:{"driver":"copy-on-read","file":{"driver":"qcow2","file":{"driver":"file","filename":"disk.qcow2"}}}`,
	"check": `
		check --image-opts driver=throttle,throttle-group=g,file.driver=qcow2,file.file.filename=disk.qcow2 --object throttle-group,id=g,x-bps-total=100000000
		check blkdebug::disk.qcow2
		check --image-opts driver=copy-on-read,file.driver=qcow2,file.file.filename=disk.qcow2`,
	"map": `
		map blkdebug::disk.qcow2
		map --output=json --image-opts driver=throttle,throttle-group=g,file.driver=qcow2,file.file.filename=disk.qcow2 --object throttle-group,id=g
		map --image-opts driver=blkdebug,image.driver=qcow2,image.file.filename=disk.qcow2`,
	"convert": `
		convert -O raw blkdebug::disk.qcow2 out.raw
		convert -O raw -f raw blkdebug::plain.raw out.raw
		convert --image-opts -O qcow2 driver=throttle,throttle-group=g,file.driver=qcow2,file.file.filename=disk.qcow2 out.qcow2 --object throttle-group,id=g,x-iops-total=100000
		convert -n -O raw --target-image-opts disk.qcow2 driver=throttle,throttle-group=g,file.driver=qcow2,file.file.filename=blank.qcow2 --object throttle-group,id=g,x-bps-write=1000000000
		convert -n --target-image-opts plain.raw driver=copy-on-read,file.driver=qcow2,file.file.filename=blank.qcow2
		convert --image-opts -O raw driver=copy-on-read,file.driver=qcow2,file.file.filename=disk.qcow2 out.raw
		convert -n --target-image-opts -f raw plain.raw driver=raw,file.driver=blkdebug,file.align=4096,file.max-transfer=64k,file.image.filename=copy.qcow2
		convert -n --target-image-opts -f raw plain.raw driver=qcow2,file.driver=blkdebug,file.align=512,file.opt-write-zero=64k,file.max-write-zero=128k,file.image.filename=blank.qcow2
		convert -O raw --image-opts --salvage driver=raw,file.driver=blkdebug,file.image.filename=plain.raw,file.inject-error.0.event=none,file.inject-error.0.sector=9,file.inject-error.0.iotype=read out.raw
		convert -m 1 -O raw --image-opts driver=raw,file.driver=blkdebug,file.image.filename=plain.raw,file.inject-error.0.event=read_aio out.raw`,
	"resize": `
		resize blkdebug::disk.qcow2 8M
		resize --image-opts driver=throttle,throttle-group=g,file.driver=qcow2,file.file.filename=disk.qcow2 8M --object throttle-group,id=g
		resize --image-opts driver=copy-on-read,file.driver=qcow2,file.file.filename=disk.qcow2 8M`,
	"create": `
		create -f qcow2 blkdebug::new.qcow2 1M
		create -f blkdebug new.qcow2 1M
		create -f throttle new.qcow2 1M
		create -f qcow2 -F qcow2 -b blkdebug::disk.qcow2 new.qcow2`,
	"commit": `
		commit --image-opts driver=throttle,throttle-group=g,file.driver=qcow2,file.file.filename=disk.qcow2 --object throttle-group,id=g
		commit blkdebug::disk.qcow2`,
	"compare": `
		compare blkdebug::disk.qcow2 disk.qcow2
		compare -s blkdebug::disk.qcow2 blkdebug::copy.qcow2`,
	"snapshot": `
		snapshot -c one blkdebug::disk.qcow2
		snapshot --image-opts -c one driver=throttle,throttle-group=g,file.driver=qcow2,file.file.filename=disk.qcow2 --object throttle-group,id=g
		snapshot --image-opts -l driver=copy-on-read,file.driver=qcow2,file.file.filename=disk.qcow2`,
	"bench": `
		bench -c 8 -d 2 blkdebug::disk.qcow2
		bench -c 8 -d 2 -w -f raw blkdebug::plain.raw`,
}

func filterCases(verb string) []testCase {
	g := &group{}
	for _, l := range faultLines {
		if l.verb != verb {
			continue
		}
		before, after, _ := strings.Cut(l.line, "@")
		file, rest, _ := strings.Cut(after, " ")
		for _, event := range strings.Fields(l.events) {
			g.add("std/qcow2", false, strings.TrimSpace(before+blkdebug(file, inject(event, ""))+" "+rest))
		}
	}
	if verb == "convert" {
		for _, o := range otherFormats {
			image := "driver=" + o.format + ",file.driver=blkdebug,file.image.filename=%." + o.format
			for _, event := range strings.Fields(o.reads) {
				g.add("std/"+o.format, false, "convert -m 1 --image-opts -O raw "+strings.Replace(image, "%", "disk", 1)+inject(event, "")+" out.raw")
			}
			for _, event := range strings.Fields(o.writes) {
				g.add("std/"+o.format, false, "convert -m 1 -n --target-image-opts -f raw plain.raw "+strings.Replace(image, "%", "blank", 1)+inject(event, ""))
			}
		}
		for _, rule := range ruleLines {
			g.add("std/qcow2", false, "convert -m 1 --image-opts -O raw "+blkdebug("disk.qcow2", inject("read_aio", ",file.inject-error.0"+rule))+" out.raw")
		}
	}
	if verb == "info" {
		for _, opts := range nodeLines {
			g.add("std/qcow2", false, "info --image-opts driver=blkdebug,image.driver=file,image.filename=disk.qcow2,"+opts)
		}
	}
	g.add("std/qcow2", false, format{}.lines(filterLines[verb])...)
	return g.cases
}
