package mount

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Plain fallocate takes the space that a range needs and leaves what is in it, in every layer; it makes the disk longer.
func TestFallocateReserves(t *testing.T) {
	need(t, "fallocate", "cmp", "sfdisk")
	base := qcow2Image(t, "16M")
	qemu := stock(t, "qemu-img")
	run(t, stock(t, "qemu-io"), "-c", "write -P 1 1M 1M", base)
	run(t, qemu, "convert", "-c", "-O", "qcow2", base, base+".c")
	top := filepath.Join(filepath.Dir(base), "top.qcow2")
	for _, backing := range []string{"disk.qcow2", "disk.qcow2.c"} {
		run(t, qemu, "create", "-q", "-f", "qcow2", "-b", backing, "-F", "qcow2", top)
		run(t, stock(t, "qemu-io"), "-c", "write -P 2 4M 1M", "-c", "write -z 6M 1M", top)
		raw := filepath.Join(t.TempDir(), "raw")
		run(t, qemu, "convert", "-O", "raw", top, raw)
		mnt := mountAt(t, top)
		disk := filepath.Join(mnt, "disk.raw")
		sh(t, `fallocate -o 100 -l 8M "$D"; cmp "$D" "$R"; fallocate -n -l 16M "$D"; fallocate -l 20M "$D"; [ $(stat -c %s "$D") = 20971520 ]
			cmp -n 16777216 "$D" "$R"; ! fallocate -n -l 30M "$D"; ! fallocate -l 20971521 "$D"`, "D="+disk, "R="+raw)
		sh(t, `fallocate -z -o 19M -l 2M "$D"; [ $(stat -c %s "$D") = 22020096 ]; fallocate -z -o 22M -l 1M "$D"; [ $(stat -c %s "$D") = 24117248 ]
			cmp -n 16777216 "$D" "$R"; cmp -n 7340032 -i 16777216:0 "$D" /dev/zero; ! fallocate -z -o 22M -l 2097153 "$D"
			! fallocate -z -n -o 30M -l 1M "$D"; grep -q "write of zeroes at 31457280.*the file ends at 24117248" "$M/error_log"`,
			"D="+disk, "R="+raw, "M="+mnt)
		unmount(t, mnt)
		clean(t, top)
		run(t, qemu, "compare", "-q", top, raw)
		var m []struct {
			Start, Length, Depth int64
			Present, Data        bool
		}
		out := filepath.Join(t.TempDir(), "map")
		sh(t, `"$Q" map --output=json "$I" > "$O"`, "Q="+qemu, "I="+top, "O="+out)
		readJSON(t, out, &m)
		for _, e := range m {
			if e.Depth != 0 || !e.Present {
				t.Errorf("not in the image: %+v", e)
			}
		}
	}
}

// With no space left fallocate says so, and the writer that asked first is spared.
func TestFallocateWithoutSpace(t *testing.T) {
	need(t, "mount")
	full := tmpfs(t, "8m")
	image := filepath.Join(full, "disk.qcow2")
	run(t, stock(t, "qemu-img"), "create", "-q", "-f", "qcow2", image, "64M")
	mnt := mountAt(t, image)
	f, err := os.OpenFile(filepath.Join(mnt, "disk.raw"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Fallocate(int(f.Fd()), 0, 0, 4<<20); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Fallocate(int(f.Fd()), 0, 8<<20, 32<<20); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v, want ENOSPC", err)
	}
	if log := errorLog(t, mnt); !strings.Contains(log, "No space left") {
		t.Error(log)
	}
	if _, err := f.WriteAt(make([]byte, 4<<20), 0); err != nil {
		t.Errorf("a write into what was reserved: %v", err)
	}
}
