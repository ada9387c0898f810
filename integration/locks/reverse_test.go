package locks

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"platter/integration/programs"
	"platter/integration/twin"
)

// others is what stock tools try on an image that a verb or a mount of ours holds. Their words must be the same as when
// stock's verb holds it.
var others = []string{
	"qemu-io -f $F -c 'read 0 512' $D", "qemu-io -r -f $F -c 'read 0 512' $D", "qemu-io -r -U -f $F -c 'read 0 512' $D",
	"qemu-io -f $F -c 'write 0 512' $D", "qemu-img info $D", "qemu-img check $D", "qemu-img compare $D $D", "qemu-img snapshot -l $D",
	"qemu-img dd -U -f $F -O raw if=$D of=dd.raw", "qemu-img resize -f $F $D 8M", "qemu-img snapshot -c x $D", "qemu-img create -f $F $D 4M", "qemu-img bench -c 1 $D",
	"qemu-img convert -O raw $D copy.raw", "qemu-img convert -n -f raw -O $F small.raw $D", "qemu-img rebase -u -b '' -f $F $D",
	"qemu-nbd -k socket2 -f $F --pid-file=none/none $D",
}

func tryOthers(s *twin.Side, format, disk string) {
	s.Helper()
	for _, line := range others {
		line = strings.NewReplacer("$F", format, "$D", disk).Replace(line)
		out, errs, code := s.Try(line)
		s.Note("$ %s\n%s%s(exit %d)", line, out, errs, code)
	}
	s.Normalise(`disk size: .*`, "disk size: SOME")
	s.Normalise(`Run completed in [0-9.]+ seconds`, "Run completed in N seconds")
	s.Normalise(`[0-9.:]+ sec|\([0-9./a-zA-Z ]+ and [0-9.]+ ops/sec\)`, "TIME")
	s.Normalise(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`, "DATE")
}

// A slow verb holds its images; stock tools meet the same locks as with stock's verb. What bench writes is there already,
// so that what the others read does not depend on the moment.
func TestVerbHolds(t *testing.T) {
	for _, format := range []string{"raw", "qcow2"} {
		for _, c := range []struct{ name, line, held string }{
			{"convert source", "convert -r 16k -f $F -O raw disk.$F out.raw", "disk.$F"},
			{"convert source shared", "convert -U -r 16k -f $F -O raw disk.$F out.raw", "disk.$F"},
			{"convert target", "convert -r 16k -f raw -O $F noise.raw new.$F", "new.$F"},
			{"convert target, no create", "convert -n -r 16k -f raw -O $F noise.raw target.$F", "target.$F"},
			{"commit base", "commit -r 16k -f qcow2 over.qcow2", "disk.$F"},
			{"commit top", "commit -r 16k -f qcow2 over.qcow2", "over.qcow2"},
			{"bench reading", "bench -c 100000000 -d 1 -f $F disk.$F", "disk.$F"},
			{"bench writing", "bench -w --pattern 3 -c 100000000 -d 1 -f $F disk.$F", "disk.$F"},
		} {
			t.Run(format+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				twin.Compare(t, func(s *twin.Side) {
					images(s, format)
					fill := strings.NewReplacer("$F", format)
					held := fill.Replace(c.held)
					cmd := s.Command(context.Background(), fill.Replace(c.line))
					hold(s, cmd, func(string) bool { return locked(s, held) })
					of := format
					if strings.HasSuffix(held, ".qcow2") {
						of = "qcow2"
					}
					tryOthers(s, of, held)
				})
			})
		}
	}
}

func images(s *twin.Side, format string) {
	s.Helper()
	s.Stock("qemu-img create -q -f " + format + " disk." + format + " 4M")
	s.Stock("qemu-io -f " + format + " -c 'write -P 3 0 4M' disk." + format)
	s.Stock("qemu-img create -q -f " + format + " target." + format + " 4M")
	s.Stock("qemu-img create -q -f raw noise.raw 4M")
	s.Stock("qemu-io -f raw -c 'write -P 5 0 4M' noise.raw")
	s.Write("small.raw", []byte(strings.Repeat("small", 1024)))
	s.Stock("qemu-img create -q -f qcow2 -b disk." + format + " -F " + format + " over.qcow2")
	s.Stock("qemu-io -f qcow2 -c 'write -P 7 0 4M' over.qcow2")
}

// A mount holds its image as stock's FUSE export does.
func TestMountHolds(t *testing.T) {
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip(err)
	}
	for _, format := range []string{"raw", "qcow2"} {
		for _, readOnly := range []bool{false, true} {
			name := format + " writable"
			if readOnly {
				name = format + " read-only"
			}
			t.Run(name, func(t *testing.T) {
				scenario := func(s *twin.Side) {
					images(s, format)
					if s.Ours {
						mount(s, format, readOnly)
					} else {
						export(s, format, readOnly)
					}
					tryOthers(s, format, "disk."+format)
				}
				if format == "raw" {
					twin.Differs(t, "the kernel caches a mounted disk, so another writer is refused, where stock lets it write a raw image", scenario)
				} else {
					twin.Compare(t, scenario)
				}
			})
		}
	}
}

func mount(s *twin.Side, format string, readOnly bool) {
	s.Helper()
	platter := programs.NeedPlatter(s, "platter")
	mnt := s.Path("mnt")
	if err := os.Mkdir(mnt, 0o755); err != nil {
		s.Fatal(err)
	}
	args := []string{"mount", "-o", "format=" + format}
	if readOnly {
		args = append(args, "-r")
	}
	if out, err := platter.Command(context.Background(), s.Dir, append(args, "disk."+format, mnt)...).CombinedOutput(); err != nil {
		s.Fatalf("mount: %v\n%s", err, out)
	}
	s.Cleanup(func() {
		if out, err := exec.Command(platter.Path, "unmount", mnt).CombinedOutput(); err != nil {
			s.Errorf("unmount: %v\n%s", err, out)
		}
	})
}

func export(s *twin.Side, format string, readOnly bool) {
	s.Helper()
	daemon := programs.NeedStock(s, "qemu-storage-daemon")
	s.Write("mnt", nil)
	access, writable := "off", "on"
	if readOnly {
		access, writable = "on", "off"
	}
	pid := filepath.Join(s.Dir, "pid")
	cmd := daemon.Command(context.Background(), s.Dir, "--blockdev",
		"driver="+format+",node-name=d,read-only="+access+",file.driver=file,file.filename=disk."+format,
		"--export", "type=fuse,id=e,node-name=d,mountpoint=mnt,writable="+writable, "--pidfile", pid)
	hold(s, cmd, func(string) bool { _, err := os.Stat(pid); return err == nil })
}
