package locks

import (
	"os"
	"strings"
	"testing"

	"platter/integration/twin"
)

// lines are the verbs on an image that somebody holds. $F is the format, $D the image, $O another one.
const lines = `
	info $D; info -U $D; info -f $F $D; info --backing-chain $D; info -U --backing-chain $D; info --output=json -U $D
	check $D; check -U $D; check -r leaks $D; check -r all -f $F $D; check -U -r all $D
	map $D; map -U $D; map -f $F $D; map -U --output=json $D
	measure -O qcow2 $D; measure -U -O qcow2 $D; measure -U -f $F -O raw $D
	compare $D $O; compare -U $D $O; compare $O $D; compare -f $F -F $F $D $O; compare -U -s -f $F -F $F $O $D; compare $D $D
	convert -O raw $D out.raw; convert -U -O raw $D out.raw; convert -f $F -O qcow2 $D out.qcow2; convert -U -f $F -O qcow2 $D out.qcow2
	convert -O $F $O $D; convert -n -O $F $O $D; convert -U -n -O $F $O $D; convert -U -O $F $O $D; convert -n -O $F $D $D
	create -f $F $D 1M; create -f $F -o preallocation=full $D 1M; create -f raw $D 1M; create -f qcow2 $D 1M
	create -f qcow2 -b $D -F $F over.qcow2; create -f qcow2 -b $D over.qcow2; create -f qcow2 -u -b $D -F $F over2.qcow2 1M
	dd if=$D of=dd.raw; dd -U if=$D of=dd.raw; dd -f $F -O $F if=$O of=$D; dd -U -f $F -O $F if=$O of=$D; dd -O $F if=$D of=dd.$F
	snapshot -l $D; snapshot -U -l $D; snapshot -c x $D; snapshot -a x $D; snapshot -d x $D; snapshot -U -c x $D
	resize $D 8M; resize -f $F $D 8M; resize -f $F --shrink $D 1M; resize -f $F --preallocation=full $D +1M
	amend -o lazy_refcounts=on $D; amend -f $F -o size=8M $D
	bitmap --add $D b; bitmap --remove $D b; bitmap -f $F --add $D b; bitmap --merge b -b $D -F $F $O b
	commit $D; commit -f $F $D; commit -d $D; commit over.qcow2; commit -b $D over.qcow2
	rebase -b '' $D; rebase -u -b '' $D; rebase -U -b '' $D; rebase -U -u -b '' $D; rebase -u -b $D -F $F over.qcow2; rebase -b $D -F $F over.qcow2
	bench -c 2 $D; bench -U -c 2 $D; bench -c 2 -f $F $D; bench -w -c 2 -f $F $D; bench -U -w -c 2 -f $F $D; bench -w -c 2 $D`

func each(do func(line string)) {
	for _, l := range strings.FieldsFunc(lines, func(r rune) bool { return r == ';' || r == '\n' }) {
		if l = strings.TrimSpace(l); l != "" {
			do(l)
		}
	}
}

// Stock holds an image in one way or another while every verb runs on it.
func TestStockHolds(t *testing.T) {
	holders := map[string]func(s *twin.Side, format string){
		"qemu-io writing":        func(s *twin.Side, f string) { qemuIO(s, "-f", f, "disk."+f) },
		"qemu-io reading":        func(s *twin.Side, f string) { qemuIO(s, "-r", "-f", f, "disk."+f) },
		"qemu-io reading shared": func(s *twin.Side, f string) { qemuIO(s, "-r", "-U", "-f", f, "disk."+f) },
		"qemu-nbd writing":       func(s *twin.Side, f string) { qemuNBD(s, "-f", f, "disk."+f) },
		"qemu-nbd reading":       func(s *twin.Side, f string) { qemuNBD(s, "-r", "-f", f, "disk."+f) },
	}
	for _, format := range []string{"raw", "qcow2"} {
		for name, holder := range holders {
			t.Run(format+"/"+name, func(t *testing.T) {
				if strings.Contains(name, "reading") && name != "qemu-io reading" && os.Getenv("PLATTER_LONG") == "" {
					t.Skip("much like qemu-io reading; PLATTER_LONG=1 runs it")
				}
				t.Parallel()
				twin.Compare(t, func(s *twin.Side) {
					disk, other := "disk."+format, "other."+format
					for _, n := range []string{disk, other} {
						s.Stock("qemu-img create -q -f " + format + " " + n + " 4M")
						s.Stock("qemu-io -f " + format + " -c 'write -P 3 1M 64k' " + n)
					}
					if format == "qcow2" {
						s.Stock("qemu-img bitmap --add " + other + " b")
					}
					s.Stock("qemu-img create -q -f qcow2 -b " + disk + " -F " + format + " over.qcow2")
					holder(s, format)
					each(func(line string) {
						s.Img(strings.NewReplacer("$F", format, "$D", disk, "$O", other).Replace(line))
					})
					s.NoteSums(disk, other, "out.raw", "dd.raw")
					s.Normalise(`Run completed in [0-9.]+ seconds`, "Run completed in N seconds")
					s.Normalise(`#block\d{3,}`, "#blockN")
					s.Normalise(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`, "DATE")
				})
			})
		}
	}
}

// Stock holds one layer of a chain while verbs run on another.
func TestStockHoldsLayer(t *testing.T) {
	verbs := []string{"info --backing-chain top.qcow2", "info -U --backing-chain top.qcow2", "check top.qcow2", "map top.qcow2", "map -U top.qcow2",
		"convert -O raw top.qcow2 out.raw", "convert -U -O raw top.qcow2 out.raw", "compare top.qcow2 mid.qcow2", "compare -U top.qcow2 base.qcow2",
		"commit top.qcow2", "commit -b base.qcow2 top.qcow2", "commit mid.qcow2", "rebase -b base.qcow2 -F qcow2 top.qcow2", "rebase -b '' top.qcow2",
		"rebase -u -b mid.qcow2 -F qcow2 top.qcow2", "resize top.qcow2 5M", "resize base.qcow2 5M", "snapshot -c x top.qcow2", "snapshot -c x base.qcow2",
		"check -r all mid.qcow2", "bench -c 1 top.qcow2", "bench -w -c 1 top.qcow2", "dd if=top.qcow2 of=dd.raw", "measure -O raw top.qcow2",
		"create -f qcow2 -b top.qcow2 -F qcow2 new.qcow2", "amend -o lazy_refcounts=on base.qcow2", "bitmap --add base.qcow2 b",
		"convert -n -O qcow2 other.raw mid.qcow2", "convert -O qcow2 -B mid.qcow2 -F qcow2 top.qcow2 out.qcow2"}
	for name, args := range map[string][]string{
		"base writing": {"-f", "qcow2", "base.qcow2"}, "base reading": {"-r", "-f", "qcow2", "base.qcow2"},
		"mid writing": {"-f", "qcow2", "mid.qcow2"}, "top writing": {"-f", "qcow2", "top.qcow2"}, "top reading": {"-r", "-f", "qcow2", "top.qcow2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			twin.Compare(t, func(s *twin.Side) {
				s.Stock("qemu-img create -q -f qcow2 base.qcow2 4M")
				s.Stock("qemu-img create -q -f raw other.raw 4M")
				s.Stock("qemu-io -f qcow2 -c 'write -P 1 0 1M' base.qcow2")
				s.Stock("qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 mid.qcow2")
				s.Stock("qemu-io -f qcow2 -c 'write -P 2 512k 1M' mid.qcow2")
				s.Stock("qemu-img create -q -f qcow2 -b mid.qcow2 -F qcow2 top.qcow2")
				s.Stock("qemu-io -f qcow2 -c 'write -P 3 1M 1M' top.qcow2")
				qemuIO(s, args...)
				for _, line := range verbs {
					s.Img(line)
				}
				s.NoteSums("out.raw", "dd.raw")
				s.Normalise(`Run completed in [0-9.]+ seconds`, "Run completed in N seconds")
				s.Normalise(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`, "DATE")
			})
		})
	}
}
