package mount

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Whatever asks for stable storage gets it: fsync, fdatasync, O_SYNC and O_DSYNC, msync of a mapping, each through the
// disk and through a partition; what nobody asks for is flushed a while later, syncfs or not.
func TestWhatIsFlushed(t *testing.T) {
	need(t, "sfdisk")
	image := filepath.Join(t.TempDir(), "disk.qcow2")
	run(t, platter, "create", "-q", "-f", "qcow2", image, "64M")
	mnt := mountAt(t, image)
	disk := filepath.Join(mnt, "disk.raw")
	sh(t, `echo '1M,32M,83' | sfdisk -q $D`, "D="+disk)
	p := make([]byte, 4096)
	for _, name := range []string{disk, filepath.Join(mnt, "partitions", "p1.raw")} {
		for _, c := range []struct {
			name  string
			flags int
			do    func(fd int) error
		}{
			{"fsync", 0, unix.Fsync},
			{"fdatasync", 0, unix.Fdatasync},
			{"O_SYNC", unix.O_SYNC, func(int) error { return nil }},
			{"O_DSYNC", unix.O_DSYNC, func(int) error { return nil }},
			{"msync", 0, syncMapping},
		} {
			before := flushes(t, mnt)
			fd, err := unix.Open(name, unix.O_RDWR|c.flags, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = unix.Pwrite(fd, p, 8192); err == nil {
				err = c.do(fd)
			}
			unix.Close(fd)
			if after := flushes(t, mnt); err != nil || after <= before {
				t.Errorf("%s of %s: %v, %d flushes before and %d after", c.name, filepath.Base(name), err, before, after)
			}
		}
	}
	before := flushes(t, mnt)
	sh(t, `dd if=/dev/zero of=$D bs=4k count=1 seek=9 conv=notrunc status=none; sync -f $D`, "D="+disk)
	for range 300 {
		if flushes(t, mnt) > before {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("a write that nobody flushed was not flushed in 15 seconds")
}

func syncMapping(fd int) error {
	m, err := unix.Mmap(fd, 0, 16<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	defer unix.Munmap(m)
	m[12<<10]++
	return unix.Msync(m, unix.MS_SYNC)
}

func flushes(t *testing.T, mnt string) int64 {
	t.Helper()
	var figures struct {
		Flushes int64 `json:"flushes"`
	}
	text, err := os.ReadFile(filepath.Join(mnt, "stats.json"))
	if err == nil {
		err = json.Unmarshal(text, &figures)
	}
	if err != nil {
		t.Fatal(err)
	}
	return figures.Flushes
}
