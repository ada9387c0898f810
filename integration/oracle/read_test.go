package oracle

import "fmt"

// everyOutput runs a template with each output form.
func everyOutput(f format, g *group, fixture, table string) {
	for _, l := range f.lines(table) {
		g.add(fixture, false, l, l+" --output=json", l+" --output human")
	}
}

func infoCases(g *group, f format) {
	everyOutput(f, g, "std/"+f.name, `
		info disk.$F
		info -f $F disk.$F
		info -f raw disk.$F
		info -f qcow2 disk.$F
		info -f vpc disk.$F
		info -f $F plain.raw
		info -U disk.$F
		info --backing-chain disk.$F
		info -b -f $F disk.$F
		info blank.$F
		info -f $F junk.txt
		info -f $F empty.$F
		info -f $F folder
		info folder
		info missing.$F
		info -f $F missing.$F
		info file:disk.$F
		info --image-opts driver=$F,file.filename=disk.$F
		info --image-opts driver=$F,file.driver=file,file.filename=disk.$F
		info --image-opts driver=raw,offset=64k,size=1M,file.filename=disk.$F
		info --image-opts disk.$F
		info --image-opts file.filename=disk.$F
		info --image-opts driver=$F
		info --image-opts driver=$F,file.filename=missing.$F
		info --image-opts driver=$F,file.filename=disk.$F,file.locking=off
		info --image-opts driver=$F,read-only=on,file.filename=disk.$F
		info 'json:{"driver":"$F","file":{"driver":"file","filename":"disk.$F"}}'
		info 'json:{"file":{"driver":"file","filename":"disk.$F"}}'
		info 'json:{"driver":"$F","file.filename":"disk.$F"}'
		info 'json:{"driver":"raw","offset":512,"file":{"driver":"file","filename":"disk.$F"}}'
		info 'json:{"driver":"$F","nosuch":1,"file.filename":"disk.$F"}'
		info 'json:{"driver":"$F"}'
		info 'json:{}'
		info 'json:['
	`)
	brokenCases(g, f, "info")
	chainCases(g, f, "info")
	if f.snapshots {
		everyOutput(f, g, "snap/"+f.name, "info disk.$F")
	}
	if f.bitmaps {
		everyOutput(f, g, "bitmap/"+f.name, "info disk.$F")
		g.add("bitmap/"+f.name, false, f.lines("info --backing-chain disk.$F")...)
	}
	if f.name == "qcow2" {
		damageCases(g, "info")
	}
	for _, o := range infoOptions(f) {
		for _, out := range []string{"human", "json"} {
			g.cases = append(g.cases, testCase{cmds: []string{
				f.expand("create -q -f $F -o " + o + " disk.$F 4M"), f.expand("info --output=" + out + " disk.$F")}})
		}
	}
}

// infoOptions are the create options that info shows in some way: each with its first value.
func infoOptions(f format) []string {
	var out []string
	if f.opaque {
		return nil
	}
	for _, o := range f.options {
		for i, v := range words(o.values) {
			if i < 3 && o.key != "backing_file" && o.key != "data_file" {
				out = append(out, o.key+"="+v)
			}
		}
	}
	return out
}

// brokenCases runs a verb on images that were cut or overwritten.
func brokenCases(g *group, f format, verb string) {
	for _, name := range []string{"head", "stub", "half", "magic", "version", "fields", "zeroes"} {
		g.add("broken/"+f.name, false, fmt.Sprintf("%s -f %s %s.%s", verb, f.name, name, f.name),
			fmt.Sprintf("%s %s.%s", verb, name, f.name),
			fmt.Sprintf("%s --output=json -f %s %s.%s", verb, f.name, name, f.name))
	}
}

// chainCases runs a verb on overlays, whole and broken.
func chainCases(g *group, f format, verb string) {
	if !f.backing {
		return
	}
	names := []string{"top", "mid", "orphan"}
	if verb == "info" {
		names = append(names, "loop") // the other verbs of stock open it again and again until memory is out
	}
	for _, name := range names {
		for _, opt := range []string{"", "-f " + f.name, "-U", "--output=json"} {
			line := f.expand(fmt.Sprintf("%s %s %s.$F", verb, opt, name))
			g.add("chain/"+f.name, false, line)
			if verb == "info" {
				g.add("chain/"+f.name, false, line+" --backing-chain")
			}
		}
	}
	g.add("chain/"+f.name, false,
		f.expand(verb+" --image-opts driver=$F,file.filename=top.$F,backing.driver=$B,backing.file.filename=base.$B"),
		f.expand(verb+" --image-opts driver=$F,file.filename=top.$F,backing.file.filename=base.$B"),
		f.expand(verb+` 'json:{"driver":"$F","backing":null,"file":{"driver":"file","filename":"top.$F"}}'`),
		f.expand(verb+` 'json:{"driver":"$F","backing":{"driver":"$B","file":{"driver":"file","filename":"base.$B"}},"file":{"driver":"file","filename":"orphan.$F"}}'`))
}

var damaged = words(`ok leak refzero reftwo notcopied unaligned outside twice l2reserved l1outside l1unaligned dirty corrupt
	unknown l1size l1offset clusterbits reftable reforder headerlen refblock backingname snapcount`)

// damageCases runs a verb on qcow2 images with each kind of metadata error.
func damageCases(g *group, verb string) {
	for _, name := range damaged {
		g.add("damage/qcow2", false, verb+" "+name+".qcow2")
		if verb == "info" || verb == "check" || verb == "map" {
			g.add("damage/qcow2", false, verb+" --output=json "+name+".qcow2")
		}
	}
}

func mapCases(g *group, f format) {
	everyOutput(f, g, "std/"+f.name, `
		map disk.$F
		map -f $F disk.$F
		map -f raw disk.$F
		map -U disk.$F
		map blank.$F
		map plain.raw
		map --start-offset=64k disk.$F
		map --start-offset=1 disk.$F
		map --start-offset=1M --max-length=64k disk.$F
		map --max-length=1 disk.$F
		map --max-length=0 disk.$F
		map --start-offset=4M disk.$F
		map --start-offset=5M disk.$F
		map --max-length=1G disk.$F
		map -s 1M -l 1M disk.$F
		map --start-offset=-1 disk.$F
		map --max-length=-1 disk.$F
		map --start-offset=1M1 disk.$F
		map --image-opts driver=$F,file.filename=disk.$F
		map --image-opts driver=raw,offset=64k,size=1M,file.filename=disk.$F
		map missing.$F
		map -f $F junk.txt
		map folder
	`)
	brokenCases(g, f, "map")
	chainCases(g, f, "map")
	if f.backing {
		everyOutput(f, g, "chain/"+f.name, `
			map --start-offset=512k --max-length=1M top.$F
			map --start-offset=4M top.$F
			map --start-offset=3M --max-length=1 top.$F
		`)
	}
	if f.snapshots {
		everyOutput(f, g, "snap/"+f.name, "map disk.$F")
	}
	if f.name == "qcow2" {
		damageCases(g, "map")
	}
}

func checkCases(g *group, f format) {
	everyOutput(f, g, "std/"+f.name, `
		check disk.$F
		check -f $F disk.$F
		check -q disk.$F
		check -f raw disk.$F
		check -U disk.$F
		check blank.$F
		check -T none disk.$F
		check -T writethrough disk.$F
		check missing.$F
		check -f $F junk.txt
		check folder
		check -r leaks disk.$F
		check -r all disk.$F
		check -r all -U disk.$F
		check --image-opts driver=$F,file.filename=disk.$F
	`)
	brokenCases(g, f, "check")
	for _, name := range []string{"head", "half", "fields", "zeroes"} {
		g.add("broken/"+f.name, false, f.expand("check -r all -f $F "+name+".$F"))
	}
	chainCases(g, f, "check")
	if f.snapshots {
		everyOutput(f, g, "snap/"+f.name, "check disk.$F")
	}
	if f.bitmaps {
		everyOutput(f, g, "bitmap/"+f.name, "check disk.$F")
	}
	if f.name == "qcow2" {
		for _, opts := range []string{"check", "check -q", "check -r leaks", "check -r all"} {
			damageCases(g, opts)
		}
		for _, name := range damaged {
			g.add("damage/qcow2", false, "check -r all --output=json "+name+".qcow2",
				"check -r leaks --output=json "+name+".qcow2")
		}
	}
}

func compareCases(g *group, f format) {
	g.add("std/"+f.name, false, f.lines(`
		compare disk.$F plain.raw
		compare plain.raw disk.$F
		compare disk.$F copy.$F
		compare disk.$F disk.$F
		compare disk.$F blank.$F
		compare blank.$F plain.raw
		compare disk.$F small.$F
		compare small.$F disk.$F
		compare blank.$F small.$F
		compare small.$F blank.$F
		compare -s disk.$F plain.raw
		compare -s disk.$F copy.$F
		compare -s blank.$F small.$F
		compare -s small.$F blank.$F
		compare -s disk.$F small.$F
		compare -s disk.$F blank.$F
		compare -q disk.$F blank.$F
		compare -q disk.$F copy.$F
		compare -q -s blank.$F small.$F
		compare -p disk.$F copy.$F
		compare -p disk.$F blank.$F
		compare -f $F -F raw disk.$F plain.raw
		compare -f raw -F $F plain.raw disk.$F
		compare -f $F disk.$F plain.raw
		compare -F raw disk.$F plain.raw
		compare -f $F -F $F disk.$F plain.raw
		compare -f raw -F raw disk.$F copy.$F
		compare -U disk.$F copy.$F
		compare -T none disk.$F plain.raw
		compare -T unsafe disk.$F plain.raw
		compare -T directsync disk.$F plain.raw
		compare disk.$F missing.$F
		compare missing.$F disk.$F
		compare disk.$F folder
		compare disk.$F junk.txt
		compare -f $F junk.txt disk.$F
		compare disk.$F empty.$F
		compare disk.$F
		compare disk.$F copy.$F plain.raw
		compare --image-opts driver=$F,file.filename=disk.$F driver=raw,file.filename=plain.raw
		compare --image-opts -f $F driver=$F,file.filename=disk.$F driver=raw,file.filename=plain.raw
	`)...)
	if f.backing {
		g.add("chain/"+f.name, false, f.lines(`
			compare top.$F mid.$F
			compare mid.$F base.$B
			compare -s top.$F mid.$F
			compare top.$F orphan.$F
			compare orphan.$F top.$F
			compare mid.$F other.$B
			compare base.$B other.$B
			compare base.$B short.$B
		`)...)
	}
	if f.name == "qcow2" {
		for _, name := range damaged {
			g.add("damage/qcow2", false, "compare ok.qcow2 "+name+".qcow2", "compare -p "+name+".qcow2 ok.qcow2")
		}
	}
}

func measureCases(g *group, f format) {
	everyOutput(f, g, "std/"+f.name, `
		measure disk.$F
		measure -O $F disk.$F
		measure -O $F --size 1G
		measure -O $F --size 0
		measure -O $F -s 1T
		measure -O $F --size x
		measure -O $F --size -1
		measure -O $F --size 8E
		measure -O $F --size 1M disk.$F
		measure -O $F
		measure -O qcow2 disk.$F
		measure -O qcow2 -o cluster_size=4k disk.$F
		measure -O qcow2 -o preallocation=full disk.$F
		measure -O raw disk.$F
		measure -f $F -O qcow2 disk.$F
		measure -f raw -O qcow2 disk.$F
		measure -O $F -o help
		measure -O $F -o nosuch=1 --size 1M
		measure -O nosuch --size 1M
		measure -O $F missing.$F
		measure -O $F junk.txt
		measure -l nosuch -O $F disk.$F
		measure -O $F blank.$F
	`)
	if f.opaque {
		return
	}
	for _, o := range f.options {
		for _, v := range words(o.values) {
			g.add("std/"+f.name, false, f.expand("measure -O $F -o "+o.key+"="+v+" --size 64M"),
				f.expand("measure -O $F -o "+o.key+"="+v+" plain.raw"))
		}
	}
	if f.backing {
		everyOutput(f, g, "chain/"+f.name, "measure -O qcow2 top.$F\nmeasure -O $F top.$F\nmeasure -O qcow2 orphan.$F")
	}
	if f.snapshots {
		everyOutput(f, g, "snap/"+f.name, "measure -O $F -l first disk.$F\nmeasure -O raw -l snapshot.name=second disk.$F")
	}
	if f.bitmaps {
		everyOutput(f, g, "bitmap/"+f.name, "measure -O $F disk.$F\nmeasure -O raw disk.$F")
	}
}
