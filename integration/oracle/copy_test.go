package oracle

func convertCases(g *group, f format) {
	for _, to := range formats {
		if to.opaque {
			continue
		}
		g.add("std/"+f.name, false, f.expand("convert -f $F -O "+to.name+" disk.$F out."+to.name),
			f.expand("convert -O "+to.name+" plain.raw out."+to.name),
			f.expand("convert -c -O "+to.name+" disk.$F out."+to.name),
			f.expand("convert -O "+to.name+" blank.$F out."+to.name))
	}
	g.add("std/"+f.name, false, f.lines(convertTable)...)
	for _, s := range []string{"0", "512", "4k", "64k", "1M", "3000", "x", "-1", "100G"} {
		g.add("std/"+f.name, false, f.expand("convert -S "+s+" -f $F -O raw disk.$F out.raw"),
			f.expand("convert -S "+s+" -O $F plain.raw out.$F"))
	}
	for _, mode := range []string{"none", "writeback", "writethrough", "directsync", "unsafe", "nosuch"} {
		g.add("std/"+f.name, false, f.expand("convert -t "+mode+" -O $F plain.raw out.$F"),
			f.expand("convert -T "+mode+" disk.$F out.raw"))
	}
	for _, o := range f.options {
		v := words(o.values)[0]
		g.add("std/"+f.name, false, f.expand("convert -O $F -o "+o.key+"="+v+" plain.raw out.$F"))
	}
	for _, name := range []string{"head", "stub", "half", "magic", "fields", "zeroes"} {
		g.add("broken/"+f.name, false, f.expand("convert -f $F -O raw "+name+".$F out.raw"),
			f.expand("convert --salvage -f $F -O raw "+name+".$F out.raw"))
	}
	if f.backing {
		g.add("chain/"+f.name, false, f.lines(convertChainTable)...)
	}
	if f.snapshots {
		g.add("snap/"+f.name, false, f.lines(`
			convert -l first -O raw disk.$F out.raw
			convert -l second -O $F disk.$F out.$F
			convert -l 1 -O raw disk.$F out.raw
			convert -l snapshot.id=2 -O raw disk.$F out.raw
			convert -l snapshot.name=first -O raw disk.$F out.raw
			convert -l snapshot.id=9 -O raw disk.$F out.raw
			convert -l nosuch -O raw disk.$F out.raw
			convert -l '' -O raw disk.$F out.raw
			convert -l snapshot.nosuch=1 -O raw disk.$F out.raw
			convert -O $F disk.$F out.$F
		`)...)
		// A snapshot is copied as if it were as large as the disk is now.
		for _, resize := range []string{"resize disk.$F 9M", "resize --shrink disk.$F 1M"} {
			for _, l := range []string{"convert -l first -O raw disk.$F out.raw", "convert -l first -O $F disk.$F out.$F",
				"measure -l first -O $F disk.$F", "snapshot -a first disk.$F"} {
				g.cases = append(g.cases, testCase{fixture: "snap/" + f.name, cmds: []string{f.expand(resize), f.expand(l)}})
			}
		}
	}
	if f.bitmaps {
		g.add("bitmap/"+f.name, false, f.lines(`
			convert --bitmaps -O $F disk.$F out.$F
			convert --bitmaps -O raw disk.$F out.raw
			convert --bitmaps --skip-broken-bitmaps -O $F disk.$F out.$F
			convert --skip-broken-bitmaps -O $F disk.$F out.$F
			convert --bitmaps -O $F disk.$F other.$F out.$F
			convert -n --bitmaps -O $F disk.$F other.$F
		`)...)
	}
	if f.name == "qcow2" {
		for _, name := range damaged {
			g.add("damage/qcow2", false, "convert -O raw "+name+".qcow2 out.raw",
				"convert --salvage -O raw "+name+".qcow2 out.raw")
		}
	}
}

const convertTable = `
	convert disk.$F out.raw
	convert -p disk.$F out.raw
	convert -p -O $F plain.raw out.$F
	convert -q disk.$F out.raw
	convert -p -q disk.$F out.raw
	convert -W -O raw disk.$F out.raw
	convert -W -m 16 -O $F plain.raw out.$F
	convert -m 1 -O $F plain.raw out.$F
	convert -m 0 disk.$F out.raw
	convert -m 17 disk.$F out.raw
	convert -C -O raw disk.$F out.raw
	convert -C -O $F disk.$F out.$F
	convert -C -f raw -O $F plain.raw out.$F
	convert -C -n -O raw disk.$F plain.raw
	convert -C -n -O $F plain.raw blank.$F
	convert -C -n -O $F plain.raw small.$F
	convert -C -W -m 2 -O raw disk.$F out.raw
	convert -C -r 1G -O raw disk.$F out.raw
	convert -C --salvage -O raw disk.$F out.raw
	convert -C -O $F plain.raw small.$F out.$F
	convert -C -O $F -B plain.raw -F raw disk.$F out.$F
	convert -C -p -O raw disk.$F out.raw
	convert -n -W -m 4 -O raw disk.$F plain.raw
	convert --target-is-zero -n -C -O raw disk.$F plain.raw
	convert -n -S 0 -O $F plain.raw blank.$F
	convert -n --salvage -O $F plain.raw blank.$F
	convert -n disk.$F small.$F plain.raw
	convert -n --target-is-zero -S 64k -O $F disk.$F blank.$F
	convert --target-is-zero -B plain.raw -F raw -O $F disk.$F out.$F
	convert -n -B plain.raw -F raw -O $F disk.$F blank.$F
	convert -C -S 4k -O raw disk.$F out.raw
	convert -C -c -O qcow2 disk.$F out.qcow2
	convert -r 1G -O raw disk.$F out.raw
	convert -U disk.$F out.raw
	convert --salvage disk.$F out.raw
	convert -n disk.$F out.raw
	convert -n -O raw disk.$F plain.raw
	convert -n -O $F plain.raw blank.$F
	convert -n -O $F plain.raw small.$F
	convert -n -O $F small.$F disk.$F
	convert -n -c -O $F plain.raw blank.$F
	convert -n -o size=1M -O raw disk.$F plain.raw
	convert -n --target-is-zero -O $F plain.raw blank.$F
	convert --target-is-zero -O $F plain.raw out.$F
	convert -n --target-is-zero -p -O raw disk.$F plain.raw
	convert disk.$F plain.raw small.$F out.raw
	convert -O $F plain.raw small.$F out.$F
	convert -c -O $F plain.raw small.$F out.$F
	convert disk.$F missing.$F out.raw
	convert disk.$F disk.$F
	convert plain.raw plain.raw
	convert disk.$F folder
	convert disk.$F missing/out.raw
	convert disk.$F
	convert missing.$F out.raw
	convert folder out.raw
	convert -f $F junk.txt out.raw
	convert junk.txt out.$F
	convert -O $F junk.txt out.$F
	convert -O $F empty.$F out.$F
	convert -f raw -O $F disk.$F out.$F
	convert -O nosuch disk.$F out.raw
	convert -O $F -o help disk.$F out.$F
	convert -O $F -o help
	convert -O $F -o nosuch=1 plain.raw out.$F
	convert -O $F -o size=8M plain.raw out.$F
	convert -O $F -o size=1M plain.raw out.$F
	convert -O $F -B plain.raw -F raw disk.$F out.$F
	convert -O $F -B plain.raw disk.$F out.$F
	convert -O $F -B missing.raw -F raw disk.$F out.$F
	convert -O $F -B plain.raw -F raw -c disk.$F out.$F
	convert -O $F -B plain.raw -F raw disk.$F small.$F out.$F
	convert -O $F -B plain.raw -F raw -S 4k disk.$F out.$F
	convert -F raw -O $F disk.$F out.$F
	convert -O $F -o backing_file=plain.raw,backing_fmt=raw disk.$F out.$F
	convert -O $F -o backing_file=plain.raw disk.$F out.$F
	convert -l nosuch disk.$F out.raw
	convert --bitmaps -O qcow2 disk.$F out.qcow2
	convert --image-opts driver=$F,file.filename=disk.$F out.raw
	convert --image-opts driver=raw,offset=64k,size=1M,file.filename=plain.raw out.raw
	convert --target-image-opts disk.$F driver=raw,file.filename=plain.raw
	convert -n --target-image-opts disk.$F driver=raw,file.filename=plain.raw
	convert -n --target-image-opts plain.raw driver=$F,file.filename=blank.$F
	convert -n --target-image-opts -O $F plain.raw driver=$F,file.filename=blank.$F
	convert 'json:{"driver":"null-co","size":1048576}' out.raw
	convert 'json:{"driver":"null-co","size":1048576,"read-zeroes":true}' -O $F out.$F
	convert null-co:// -O $F out.$F
`

const convertChainTable = `
	convert top.$F out.raw
	convert -O $F top.$F out.$F
	convert -O $F mid.$F out.$F
	convert -O $F -B base.$B -F $B mid.$F out.$F
	convert -O $F -B mid.$F -F $F top.$F out.$F
	convert -O $F -B base.$B -F $B top.$F out.$F
	convert -O $F -B short.$B -F $B top.$F out.$F
	convert -O $F -B other.$B -F $B mid.$F out.$F
	convert -O qcow2 -c -B base.$B -F $B mid.$F out.qcow2
	convert -O $F -B top.$F -F $F base.$B out.$F
	convert -O $F -B base.$B -F $B base.$B out.$F
	convert orphan.$F out.raw
	convert -n -O $F base.$B mid.$F
	convert -n --target-is-zero -O $F base.$B mid.$F
	convert -n -B base.$B -O $F mid.$F top.$F
	convert top.$F mid.$F base.$B out.raw
`

func ddCases(g *group, f format) {
	g.add("std/"+f.name, false, f.lines(`
		dd if=disk.$F of=out.raw
		dd -f $F -O $F if=disk.$F of=out.$F
		dd -O $F if=plain.raw of=out.$F
		dd -O $F if=plain.raw of=out.$F bs=1M
		dd -O $F if=plain.raw of=out.$F bs=1M count=2
		dd if=disk.$F of=out.raw bs=64k skip=1
		dd if=disk.$F of=out.raw bs=1M skip=3 count=9
		dd if=disk.$F of=out.raw bs=1M skip=4
		dd if=disk.$F of=out.raw bs=1M skip=5
		dd if=disk.$F of=out.raw count=0
		dd if=disk.$F of=out.raw bs=0
		dd if=disk.$F of=out.raw bs=x
		dd if=disk.$F of=out.raw bs=-1
		dd if=disk.$F of=out.raw bs=1000 count=3
		dd if=disk.$F of=out.raw bs=3G
		dd if=disk.$F of=out.raw count=x
		dd if=disk.$F of=out.raw count=-1
		dd if=disk.$F of=out.raw skip=x
		dd if=disk.$F of=out.raw nosuch=1
		dd if=disk.$F of=out.raw seek=1
		dd if=disk.$F of=out.raw if=plain.raw
		dd if=disk.$F of=out.raw bs=512 bs=1M
		dd if=disk.$F
		dd of=out.raw
		dd if=missing.$F of=out.raw
		dd if=folder of=out.raw
		dd if=disk.$F of=folder
		dd if=disk.$F of=plain.raw
		dd if=disk.$F of=missing/out.raw
		dd -f $F if=junk.txt of=out.raw
		dd -f raw if=disk.$F of=out.raw
		dd -O nosuch if=disk.$F of=out.raw
		dd -U if=disk.$F of=out.raw
		dd disk.$F out.raw
		dd --image-opts if=driver=$F,file.filename=disk.$F of=out.raw
		dd if=disk.$F of=out.raw bs=
		dd =x if=disk.$F of=out.raw
	`)...)
}
