package devices

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"platter/integration/programs"
	"platter/integration/twin"
)

// loop makes a block device of a file, with sectors of so many bytes.
func loop(s *twin.Side, file, sector string) string {
	s.Helper()
	if os.Geteuid() != 0 {
		s.Skip("loop devices need root")
	}
	bin, err := exec.LookPath("losetup")
	if err != nil {
		bin = "/usr/sbin/losetup"
	}
	out, err := exec.Command(bin, "-f", "--show", "-b", sector, s.Path(file)).CombinedOutput()
	if err != nil {
		s.Skipf("losetup: %v: %s", err, out)
	}
	dev := strings.TrimSpace(string(out))
	s.Cleanup(func() {
		if out, err := exec.Command(bin, "-d", dev).CombinedOutput(); err != nil {
			s.Errorf("losetup -d: %v: %s", err, out)
		}
	})
	s.Normalise(`/dev/loop\d+`, "/dev/loopN")
	return dev
}

var deviceLines = []string{
	"info $D", "info -f raw $D", "info --output=json $D", "info host_device:$D", "info file:$D", "info --image-opts driver=host_device,filename=$D", "info --image-opts driver=file,filename=$D",
	"info --image-opts driver=raw,file.driver=host_device,file.filename=$D", "info host_cdrom:$D", "info --image-opts driver=host_cdrom,filename=$D", "info 'json:{\"driver\":\"raw\",\"file\":{\"driver\":\"file\",\"filename\":\"$D\"}}'",
	"map --output=json -f raw $D", "measure -O qcow2 -f raw $D", "check -f raw $D", "snapshot -l $D", "compare -f raw -F raw $D disk.raw", "compare -T none -f raw -F raw $D plain.raw",
	"convert -f raw -O raw $D out.raw", "convert -T none -f raw -O qcow2 $D out.qcow2", "dd -f raw if=$D of=dd.raw bs=64k count=3",
	"convert -O raw plain.raw $D", "convert -n -O raw plain.raw $D", "convert -n -t none -O raw plain.raw $D", "convert -n -t directsync -S 0 -O raw plain.raw $D", "convert -n -O raw small.raw $D", "convert -n -O raw large.raw $D", "convert -O raw large.raw $D",
	"compare -f raw -F raw $D plain.raw", "convert -O qcow2 small.raw $D", "info $D", "check $D", "map --output=json $D", "convert -O raw $D qout.raw", "resize $D 5M", "snapshot -c s $D", "snapshot -l $D", "bench -w -c 3 $D", "bench -w -c 3 -t none -s 512 -S 512 $D", "amend -o lazy_refcounts=on $D",
	"create -f raw $D 1M", "create -f raw $D 4M", "create -f raw $D 8M", "create -f raw -o preallocation=full $D 1M", "create -f qcow2 $D 1M", "create -f qcow2 $D 1G", "create -f vmdk $D 1M", "create -f qcow2 -b $D -F raw over.qcow2",
	"resize -f raw $D 8M", "resize -f raw $D 4M", "resize -f raw --shrink $D 1M", "resize -f raw --preallocation=full $D 8M", "bench -c 3 -f raw -t none $D", "bench -c 3 -s 512 -f raw -t none $D",
	"info over.qcow2", "commit over.qcow2", "rebase -u -b plain.raw -F raw over.qcow2", "dd -O raw if=small.raw of=$D", "create -f qcow2 -o cluster_size=512 $D 1M",
}

func TestBlockDevices(t *testing.T) {
	for _, sector := range []string{"512", "4096"} {
		t.Run(sector, func(t *testing.T) {
			twin.Compare(t, func(s *twin.Side) {
				for name, size := range map[string]int{"disk.raw": 4 << 20, "plain.raw": 4 << 20, "small.raw": 1 << 20, "large.raw": 5 << 20} {
					s.Write(name, []byte(strings.Repeat(name[:4], size/4)))
				}
				dev := loop(s, "disk.raw", sector)
				for _, line := range deviceLines {
					s.Img(strings.ReplaceAll(line, "$D", dev))
				}
				s.NoteSums("plain.raw", "out.raw", "dd.raw", "qout.raw")
				s.Normalise(`Run completed in [0-9.]+ seconds`, "Run completed in N seconds")
				s.Normalise(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`, "DATE")
				s.Normalise(`disk size: .*|"actual-size": \d+`, "disk size")
			})
		})
	}
}

// What is neither a file nor a block device.
func TestSpecialFiles(t *testing.T) {
	twin.Compare(t, func(s *twin.Side) {
		l, err := net.Listen("unix", s.Path("socket"))
		if err != nil {
			s.Fatal(err)
		}
		defer l.Close()
		os.Mkdir(s.Path("folder"), 0o755)
		os.Symlink("nowhere", s.Path("dangling"))
		os.Symlink("self", s.Path("self"))
		os.Symlink("disk.raw", s.Path("link"))
		s.Write("disk.raw", make([]byte, 1<<20))
		s.Write("locked.raw", make([]byte, 4096))
		os.Chmod(s.Path("locked.raw"), 0)
		for _, name := range []string{"socket", "folder", "dangling", "self", "link", "/dev/null", "/dev/tty", "/dev/loop-control", "disk.raw/x", "", ".", "/",
			strings.Repeat("n", 300), filepath.Join(strings.Repeat("d/", 2500), "x"), "locked.raw", "file:", "file:disk.raw", "host_device:disk.raw", "host_device:", "host_cdrom:disk.raw", "fat:disk.raw", "nosuch:x", "./nosuch:x"} {
			for _, line := range []string{"info '$N'", "info -f raw '$N'", "info -f qcow2 '$N'", "convert -O raw '$N' out.raw", "convert -O raw disk.raw '$N'", "convert -n -O raw disk.raw '$N'",
				"create -f raw '$N' 1M", "create -f qcow2 '$N' 1M", "create -f qcow2 -b '$N' -F raw over.qcow2", "resize -f raw '$N' 2M", "check -f qcow2 '$N'", "dd if='$N' of=dd.raw"} {
				if name == "/dev/null" && line == "create -f qcow2 '$N' 1M" {
					continue // stock reads what it wrote, and finds nothing
				}
				s.Img(strings.ReplaceAll(line, "$N", name))
				os.Remove(s.Path("over.qcow2"))
			}
		}
	})
}

// A FIFO is refused at once. Stock waits for ever for somebody to write to it.
func TestFIFO(t *testing.T) {
	img, dir := programs.NeedPlatter(t, "qemu-img"), t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"info fifo", "convert -O raw fifo out.raw", "create -f qcow2 -b fifo -F raw over.qcow2", "check -f qcow2 fifo", "resize -f raw fifo 1M"} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		cmd := img.Command(ctx, dir, strings.Fields(line)...)
		if out, err := cmd.CombinedOutput(); err == nil || ctx.Err() != nil || cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "to be a regular file") {
			t.Errorf("%s: %v: %s", line, err, out)
		}
		cancel()
	}
}

// O_DIRECT and the other cache modes on files of odd sizes.
func TestCacheModes(t *testing.T) {
	twin.Compare(t, func(s *twin.Side) {
		s.Write("even.raw", []byte(strings.Repeat("even", 1<<18)))
		s.Write("odd.raw", []byte(strings.Repeat("odd", 100001)))
		s.Write("sector.raw", []byte(strings.Repeat("s", 4096+512)))
		s.Stock("qemu-img convert -O qcow2 even.raw disk.qcow2")
		s.Stock("qemu-img create -q -f qcow2 -b even.raw -F raw over.qcow2")
		for _, mode := range []string{"none", "off", "directsync", "writethrough", "writeback", "unsafe"} {
			for _, line := range []string{"convert -T $M -t $M -O raw $F out.raw", "convert -T $M -t $M -O qcow2 $F out.qcow2", "convert -n -t $M -O raw $F target.raw", "compare -T $M $F out.raw",
				"bench -t $M -c 3 $F", "bench -w -t $M -c 3 -s 512 -S 512 -f raw copy.raw", "check -T $M disk.qcow2", "commit -t $M over.qcow2", "rebase -t $M -T $M -u -b even.raw -F raw over.qcow2", "amend -t $M -o lazy_refcounts=on disk.qcow2"} {
				for _, file := range []string{"even.raw", "odd.raw", "sector.raw", "disk.qcow2"} {
					if !strings.Contains(line, "$F") && file != "odd.raw" {
						continue
					}
					s.Stock("qemu-img create -q -f raw target.raw 2M")
					s.Write("copy.raw", make([]byte, 4096+512))
					s.Img(strings.NewReplacer("$M", mode, "$F", file).Replace(line))
				}
			}
			s.NoteSums("out.raw", "target.raw", "copy.raw")
		}
		s.Normalise(`Run completed in [0-9.]+ seconds`, "Run completed in N seconds")
	})
}
