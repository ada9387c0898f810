package oracle

import "fmt"

func resizeCases(g *group, f format) {
	for _, to := range []string{"8M", "+1M", "+0", "4M", "1M", "-1M", "+1", "+513", "5000000", "0", "-4M", "-5M", "1G", "2T",
		"+8E", "8E", "x", "+x", "-", "+", "++1M", "1.5G", "''", "4194305"} {
		g.add("std/"+f.name, true, f.expand("resize -f $F disk.$F "+to), f.expand("resize -f $F --shrink disk.$F "+to))
	}
	for _, mode := range []string{"off", "metadata", "falloc", "full", "nosuch"} {
		g.add("std/"+f.name, false, f.expand("resize -f $F --preallocation="+mode+" disk.$F 8M"),
			f.expand("resize -f $F --preallocation="+mode+" --shrink disk.$F 2M"),
			f.expand("resize -f $F --preallocation="+mode+" disk.$F +100"))
	}
	g.add("std/"+f.name, true, f.lines(`
		resize disk.$F 8M
		resize -q disk.$F 8M
		resize -q -f $F disk.$F 1M
		resize disk.$F 1M
		resize plain.raw 8M
		resize plain.raw 1M
		resize missing.$F 8M
		resize -f $F junk.txt 8M
		resize folder 8M
		resize disk.$F
		resize 8M
		resize disk.$F 8M 9M
		resize disk.$F -1M
		resize -- disk.$F -1M
		resize --shrink -- disk.$F -1M
		resize disk.$F --shrink -1M
		resize --image-opts driver=$F,file.filename=disk.$F 8M
	`)...)
	if f.backing {
		g.add("chain/"+f.name, false, f.lines("resize mid.$F 8M\nresize top.$F +1M\nresize --shrink top.$F 2M\nresize orphan.$F 8M")...)
	}
	if f.name == "qcow2" { // the last cluster shows the backing file's data up to the old end, and keeps them
		for _, o := range []string{"cluster_size=64k", "extended_l2=on", "data_file=data"} {
			g.cases = append(g.cases, testCase{fixture: "chain/qcow2", cmds: []string{
				"create -q -f qcow2 -o " + o + " -b base.raw -F raw new.qcow2 1000k",
				"resize --preallocation=metadata new.qcow2 6M"}})
		}
	}
	if f.snapshots {
		g.add("snap/"+f.name, false, f.lines("resize disk.$F 8M\nresize --shrink disk.$F 1M")...)
	}
	if f.bitmaps {
		g.add("bitmap/"+f.name, false, f.lines("resize disk.$F 8M\nresize --shrink disk.$F 1M")...)
	}
}

func snapshotCases(g *group, f format) {
	g.add("std/"+f.name, false, f.lines(`
		snapshot -l disk.$F
		snapshot disk.$F
		snapshot -c one disk.$F
		snapshot -c '' disk.$F
		snapshot -a one disk.$F
		snapshot -d one disk.$F
		snapshot -l -c one disk.$F
		snapshot -c one -c two disk.$F
		snapshot -c one -d two disk.$F
		snapshot -q -d one disk.$F
		snapshot -U -l disk.$F
		snapshot -U -c one disk.$F
		snapshot -f $F -c one disk.$F
		snapshot -f raw -c one disk.$F
		snapshot -l missing.$F
		snapshot -l -f $F junk.txt
		snapshot -c one folder
		snapshot --image-opts -l driver=$F,file.filename=disk.$F
	`)...)
	if f.backing {
		g.add("chain/"+f.name, false, f.lines("snapshot -l top.$F\nsnapshot -c one top.$F\nsnapshot -l orphan.$F\nsnapshot -c one orphan.$F")...)
	}
	if !f.snapshots {
		return
	}
	long := fmt.Sprintf("%0260d", 7)
	g.add("snap/"+f.name, false, f.lines(`
		snapshot -l disk.$F
		snapshot -c third disk.$F
		snapshot -c first disk.$F
		snapshot -c 1 disk.$F
		snapshot -c '`+long+`' disk.$F
		snapshot -a first disk.$F
		snapshot -a second disk.$F
		snapshot -a 1 disk.$F
		snapshot -d first disk.$F
		snapshot -d second disk.$F
		snapshot -d 2 disk.$F
		snapshot -d nosuch disk.$F
		snapshot -a nosuch disk.$F
	`)...)
	for _, l := range []string{"snapshot -l disk.$F", "check disk.$F", "info disk.$F", "convert -O raw disk.$F out.raw"} {
		for _, first := range []string{"-d first", "-d second", "-a first", "-c third"} {
			g.cases = append(g.cases, testCase{fixture: "snap/" + f.name,
				cmds: []string{f.expand("snapshot " + first + " disk.$F"), f.expand(l)}})
		}
	}
}

func bitmapCases(g *group, f format) {
	g.add("std/"+f.name, false, f.lines(`
		bitmap --add disk.$F b
		bitmap --remove disk.$F b
		bitmap --add -g 4k disk.$F b
		bitmap -f $F --add disk.$F b
		bitmap --enable disk.$F b
		bitmap --add missing.$F b
	`)...)
	if !f.bitmaps {
		return
	}
	g.add("chain/"+f.name, false, f.lines(`
		bitmap --add orphan.$F b
		bitmap --add --merge nosuch -b orphan.$F -F $F mid.$F b
	`)...)
	for _, size := range []string{"512", "1k", "64k", "2M", "2G", "4G", "100", "3000", "0", "-1", "x", "256"} {
		g.add("std/"+f.name, false, f.expand("bitmap --add -g "+size+" disk.$F b"))
	}
	g.add("bitmap/"+f.name, false, f.lines(`
		bitmap --add disk.$F b0
		bitmap --add disk.$F ''
		bitmap --add --disable disk.$F new
		bitmap --add --enable disk.$F new
		bitmap --add --enable --disable disk.$F new
		bitmap --remove disk.$F b0
		bitmap --remove disk.$F nosuch
		bitmap --remove --add disk.$F b0
		bitmap --clear disk.$F b0
		bitmap --clear disk.$F nosuch
		bitmap --disable disk.$F b0
		bitmap --disable disk.$F b1
		bitmap --enable disk.$F b1
		bitmap --enable disk.$F b0
		bitmap --merge b1 disk.$F b0
		bitmap --merge b0 disk.$F b1
		bitmap --merge nosuch disk.$F b0
		bitmap --merge b0 disk.$F nosuch
		bitmap --merge b0 --merge b1 --add disk.$F all
		bitmap --merge b2 -b other.$F disk.$F b0
		bitmap --merge b2 -b other.$F -F $F disk.$F b0
		bitmap --merge b2 -F $F disk.$F b0
		bitmap -b other.$F --clear disk.$F b0
		bitmap --merge b2 -b missing.$F disk.$F b0
		bitmap -g 64k --clear disk.$F b0
		bitmap disk.$F b0
		bitmap --add disk.$F
		bitmap --add --image-opts driver=$F,file.filename=disk.$F new
	`)...)
}

func amendCases(g *group, f format) {
	g.add("std/"+f.name, false, f.lines(`
		amend -o help disk.$F
		amend -f $F -o help
		amend -f $F -o '?' disk.$F
		amend disk.$F
		amend -o '' disk.$F
		amend -o nosuch=1 disk.$F
		amend -o size disk.$F
		amend -f $F -o size=8M disk.$F
		amend -q -f $F -o size=8M disk.$F
		amend -p -f $F -o size=8M disk.$F
		amend -o size=8M missing.$F
		amend -f raw -o size=8M disk.$F
	`)...)
	if f.secret != "" {
		for _, o := range f.amend {
			g.add("std/"+f.name, false, f.expand("amend --object secret,id=new,data=other $I "+
				"$D -o "+o), f.expand("amend --force --object secret,id=new,data=other $I $D -o "+o))
		}
		return
	}
	if f.name == "qcow2" {
		keyCases(g)
	}
	for _, o := range f.amend {
		g.add("std/"+f.name, false, f.expand("amend -f $F -o "+o+" disk.$F"), f.expand("amend -p -o "+o+" disk.$F"))
		if f.snapshots {
			g.add("snap/"+f.name, false, f.expand("amend -f $F -o "+o+" disk.$F"))
		}
	}
}

func commitCases(g *group, f format) {
	g.add("std/"+f.name, false, f.lines("commit disk.$F\ncommit -f $F disk.$F\ncommit -b plain.raw disk.$F\ncommit missing.$F")...)
	if !f.backing {
		return
	}
	g.add("chain/"+f.name, false, f.lines(`
		commit mid.$F
		commit top.$F
		commit -d top.$F
		commit -q top.$F
		commit -p top.$F
		commit -b mid.$F top.$F
		commit -b base.$B top.$F
		commit -b ./base.$B top.$F
		commit -b other.$B top.$F
		commit -b top.$F top.$F
		commit -b missing.$B top.$F
		commit -d -b base.$B top.$F
		commit -f $F top.$F
		commit -f raw top.$F
		commit -r 100M top.$F
		commit -t none top.$F
		commit -t writethrough top.$F
		commit -t nosuch top.$F
		commit base.$B
		commit orphan.$F
		commit --image-opts driver=$F,file.filename=top.$F
	`)...)
}

func rebaseCases(g *group, f format) {
	g.add("std/"+f.name, false, f.lines("rebase -b plain.raw -F raw disk.$F\nrebase -u -b plain.raw -F raw disk.$F\nrebase -b '' disk.$F\nrebase disk.$F")...)
	if !f.backing {
		return
	}
	for _, mode := range []string{"", "-u", "-p", "-q", "-c", "-t none", "-T none"} {
		g.add("chain/"+f.name, false, f.lines(`
			rebase `+mode+` -b base.$B -F $B top.$F
			rebase `+mode+` -b other.$B -F $B mid.$F
			rebase `+mode+` -b '' top.$F
			rebase `+mode+` -b short.$B -F $B top.$F
			rebase `+mode+` -b missing.$B -F $B top.$F
			rebase `+mode+` -b base.$B top.$F
			rebase `+mode+` -b base.$B -F nosuch top.$F
			rebase `+mode+` -b mid.$F -F $F top.$F
			rebase `+mode+` -b top.$F -F $F top.$F
			rebase `+mode+` -b base.$B -F $B orphan.$F
		`)...)
	}
	g.add("chain/"+f.name, false, f.lines(`
		rebase top.$F
		rebase -b base.$B -F $B missing.$F
		rebase -b base.$B -F $B base.$B
		rebase -F $B top.$F
		rebase -f $F -b base.$B -F $B top.$F
		rebase -f raw -b base.$B -F $B top.$F
		rebase -U -b base.$B -F $B top.$F
		rebase -u -U -b base.$B -F $B top.$F
		rebase -t nosuch -b base.$B -F $B top.$F
		rebase -T nosuch -b base.$B -F $B top.$F
	`)...)
}

func benchCases(g *group, f format) {
	g.add("std/"+f.name, false, f.lines(`
		bench -c 4 disk.$F
		bench -q -c 4 disk.$F
		bench -f $F -c 4 -d 1 disk.$F
		bench -c 4 -s 512 disk.$F
		bench -c 4 -s 64k -S 128k -o 64k disk.$F
		bench -w -c 4 disk.$F
		bench -w --pattern 17 -c 4 disk.$F
		bench -w --flush-interval 2 -c 4 -d 1 disk.$F
		bench -w --flush-interval 2 --no-drain -c 4 disk.$F
		bench --flush-interval 2 -c 4 disk.$F
		bench -w --flush-interval 2 -d 4 -c 4 disk.$F
		bench --no-drain -c 4 disk.$F
		bench --pattern 17 -c 4 disk.$F
		bench -w --pattern 256 -c 4 disk.$F
		bench -c 0 disk.$F
		bench -c -1 disk.$F
		bench -d 0 disk.$F
		bench -s 0 disk.$F
		bench -s 8E disk.$F
		bench -S -1 disk.$F
		bench -o -1 disk.$F
		bench -o 5M -c 1 disk.$F
		bench -c 4 -s 4M disk.$F
		bench -c 4 -s 8M disk.$F
		bench -i threads -c 4 disk.$F
		bench -i nosuch -c 4 disk.$F
		bench -t none -c 4 disk.$F
		bench -t unsafe -w -c 4 disk.$F
		bench -U -c 4 disk.$F
		bench missing.$F
		bench -f $F junk.txt
		bench folder
		bench disk.$F plain.raw
		bench
	`)...)
}
