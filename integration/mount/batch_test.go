package mount

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// state is what stock sees of an image's size, snapshots and bitmaps.
func state(t *testing.T, image string) string {
	t.Helper()
	out := run(t, stock(t, "qemu-img"), "info", "-U", image)
	var keep []string
	for _, line := range strings.Split(out, "\n") {
		if !strings.Contains(line, "disk size") && !strings.Contains(line, "in-use") && !strings.Contains(line, "file length") {
			keep = append(keep, line)
		}
	}
	return strings.Join(keep, "\n")
}

// A batch whose last line fails leaves an image as it was: each kind of change is taken back.
func TestBatchIsTakenBack(t *testing.T) {
	image := qcow2Image(t, "16M")
	mnt := mountAt(t, image)
	disk := filepath.Join(mnt, "disk.raw")
	write := func(b byte) {
		t.Helper()
		if err := os.WriteFile(disk, []byte{b}, 0); err != nil {
			t.Fatal(err)
		}
	}
	write(1)
	if err := tell(mnt, "snapshot -c keep\nsnapshot -c gone"); err != nil {
		t.Fatalf("%v; %s", err, errorLog(t, mnt))
	}
	write(2)
	if err := tell(mnt, "snapshot -c s\nsnapshot -d gone\nsnapshot -a keep\nresize 32M\nsnapshot -a nothing"); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("%v, want ENOENT; %s", err, errorLog(t, mnt))
	}
	if b := first(t, disk); b != 2 {
		t.Errorf("the disk begins with %d", b)
	}
	if st, _ := os.Stat(disk); st.Size() != 16<<20 {
		t.Errorf("size %d", st.Size())
	}
	if list := run(t, "ls", filepath.Join(mnt, "snapshots")); list != "gone\nkeep\n" {
		t.Errorf("snapshots: %q", list)
	}
	if err := tell(mnt, "bitmap --add on\nbitmap --add --disable off\nbitmap --add --disable away"); err != nil {
		t.Fatalf("%v; %s", err, errorLog(t, mnt))
	}
	write(3)
	before := extents(t, mnt, "on")
	if err := tell(mnt, "bitmap --clear on\nbitmap --disable on\nbitmap --merge on off\nbitmap --remove away\nbitmap --add --merge no new"); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("%v, want ENOENT; %s", err, errorLog(t, mnt))
	}
	if list := run(t, "ls", filepath.Join(mnt, "bitmaps")); list != "away\noff\non\n" {
		t.Errorf("bitmaps: %q", list)
	}
	if after := extents(t, mnt, "on"); after != before || !strings.Contains(after, `"start": 0`) {
		t.Errorf("bitmap on has\n%s\nhad\n%s", after, before)
	}
	if off := extents(t, mnt, "off"); strings.Contains(off, "start") {
		t.Errorf("bitmap off has\n%s", off)
	}
	for name, want := range map[string]string{"on": "1\n", "off": "0\n"} {
		if b, _ := os.ReadFile(filepath.Join(mnt, "bitmaps", name, "enabled")); string(b) != want {
			t.Errorf("bitmap %s: enabled is %q", name, b)
		}
	}
	unmount(t, mnt)
	clean(t, image)
	if s := state(t, image); strings.Contains(s, "deleted-by-ctl") || !strings.Contains(s, "gone") {
		t.Errorf("stock sees\n%s", s)
	}
}

func extents(t *testing.T, mnt, bitmap string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(mnt, "bitmaps", bitmap, "extents.json"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A batch that succeeds does all its lines; one with a line that cannot be taken back beside others is refused whole.
func TestBatchIsDone(t *testing.T) {
	image := qcow2Image(t, "16M")
	mnt := mountAt(t, image)
	if err := tell(mnt, "snapshot -c a\nsnapshot -c b\nsnapshot -d a\nresize 32M\nbitmap --add x\ncheck\nflush\nbitmap --remove x"); err != nil {
		t.Fatalf("%v; %s", err, errorLog(t, mnt))
	}
	for _, batch := range []string{"snapshot -c c\ncommit", "resize 64M\nresize --shrink 1M", "resize --shrink 1M\ncheck", "check -r all\nsnapshot -c c"} {
		if err := tell(mnt, batch); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%q: %v", batch, err)
		}
	}
	if log := errorLog(t, mnt); !strings.Contains(log, "'commit' cannot be taken back should another line fail") {
		t.Error(log)
	}
	if list := run(t, "ls", filepath.Join(mnt, "snapshots"), filepath.Join(mnt, "bitmaps")); !strings.HasSuffix(list, ":\nb\n") {
		t.Errorf("ls: %q", list)
	}
	if err := tell(mnt, "check\nresize --shrink 31M\nflush\n"); err != nil {
		t.Errorf("a check, a change that cannot be taken back and a flush: %v; %s", err, errorLog(t, mnt))
	}
	unmount(t, mnt)
	clean(t, image)
	if s := state(t, image); !strings.Contains(s, "31 MiB") {
		t.Error(s)
	}
}

// A long command shows how far it is, and ends when "cancel" is written or its writer is interrupted; the image is whole,
// and the other files answer meanwhile.
func TestLongCommandsCanBeCancelled(t *testing.T) {
	base := qcow2Image(t, "64M")
	top := filepath.Join(filepath.Dir(base), "top.qcow2")
	run(t, stock(t, "qemu-img"), "create", "-q", "-f", "qcow2", "-b", "disk.qcow2", "-F", "qcow2", top)
	run(t, stock(t, "qemu-io"), "-c", "write -P 9 0 64M", top)
	content := filepath.Join(t.TempDir(), "content")
	run(t, stock(t, "qemu-img"), "convert", "-O", "raw", top, content)
	for _, way := range []string{"cancel", "interrupt"} {
		mnt := mountAt(t, top)
		done := make(chan error, 1)
		writer := shell(t, `exec 3> "$M/ctl"; echo "commit -r 8M" >&3`, "M="+mnt)
		go func() { done <- writer.Wait() }()
		var stats struct {
			Job struct {
				Command string
				Percent float64
			}
		}
		for end := time.Now().Add(30 * time.Second); stats.Job.Percent == 0; time.Sleep(10 * time.Millisecond) {
			readJSON(t, filepath.Join(mnt, "stats.json"), &stats)
			if time.Now().After(end) {
				t.Fatal("no progress in stats.json")
			}
		}
		if stats.Job.Command != "commit -r 8M" || stats.Job.Percent >= 100 {
			t.Errorf("job %+v", stats.Job)
		}
		run(t, "ls", "-l", mnt)
		if way == "cancel" {
			if err := tell(mnt, "cancel"); err != nil {
				t.Error(err)
			}
		} else {
			syscall.Kill(-writer.Process.Pid, syscall.SIGINT)
		}
		select {
		case err := <-done:
			if err == nil {
				t.Errorf("%s: the command succeeded", way)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: the command goes on", way)
		}
		if log := errorLog(t, mnt); !strings.Contains(log, "commit -r 8M: cancelled") {
			t.Errorf("error_log: %s", log)
		}
		run(t, "cmp", content, filepath.Join(mnt, "disk.raw"))
		unmount(t, mnt)
		clean(t, top)
		clean(t, base)
		run(t, stock(t, "qemu-img"), "compare", "-q", top, content)
	}
}

// After a rebase the mount stands on the new backing file: the layers show it, and a commit goes there.
func TestRebaseThenCommit(t *testing.T) {
	qemu, qemuIO := stock(t, "qemu-img"), stock(t, "qemu-io")
	for _, c := range []struct {
		command string
		layers  []string
		own     byte // what is in the cluster that the middle layer alone held, in the top layer
	}{
		{"rebase -b base.qcow2 -F qcow2", []string{"top.qcow2", "base.qcow2"}, 2},
		{"rebase -b other.raw -F raw", []string{"top.qcow2", "other.raw"}, 2},
		{"rebase -u -b base.qcow2 -F qcow2", []string{"top.qcow2", "base.qcow2"}, 1},
		{"rebase -b ''", []string{"top.qcow2"}, 2},
	} {
		dir := t.TempDir()
		at := func(name string) string { return filepath.Join(dir, name) }
		run(t, qemu, "create", "-q", "-f", "qcow2", at("base.qcow2"), "8M")
		run(t, qemuIO, "-c", "write -P 1 0 8M", at("base.qcow2"))
		run(t, qemu, "create", "-q", "-f", "raw", at("other.raw"), "8M")
		run(t, qemu, "create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", at("mid.qcow2"))
		run(t, qemuIO, "-c", "write -P 2 1M 1M", at("mid.qcow2"))
		run(t, qemu, "create", "-q", "-f", "qcow2", "-b", "mid.qcow2", "-F", "qcow2", at("top.qcow2"))
		run(t, qemuIO, "-c", "write -P 3 2M 1M", at("top.qcow2"))
		mid := sum(t, at("mid.qcow2"))
		mnt := mountAt(t, at("top.qcow2"))
		disk := filepath.Join(mnt, "disk.raw")
		first(t, disk) // into the page cache
		old, err := os.Open(filepath.Join(mnt, "chain", "1", "disk.raw"))
		if err != nil {
			t.Fatal(err)
		}
		if err := tell(mnt, c.command); err != nil {
			t.Errorf("%s: %v; %s", c.command, err, errorLog(t, mnt))
		}
		b, _ := os.ReadFile(disk)
		if len(b) != 8<<20 || b[0] != 1 || b[1<<20] != c.own || b[2<<20] != 3 {
			t.Errorf("%s: the disk has %d %d %d", c.command, b[0], b[1<<20], b[2<<20])
		}
		if _, err := old.ReadAt(make([]byte, 1), 5<<20); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: reading the former layer 1: %v", c.command, err)
		}
		old.Close()
		for i, want := range c.layers {
			if got, err := os.Readlink(filepath.Join(mnt, "chain", itoa(i), "file")); got != at(want) {
				t.Errorf("%s: layer %d is %s, %v", c.command, i, got, err)
			}
		}
		if list := run(t, "ls", filepath.Join(mnt, "chain")); strings.Count(list, "\n") != len(c.layers) {
			t.Errorf("%s: layers %q", c.command, list)
		}
		if err := tell(mnt, "rebase -b nowhere.qcow2 -F qcow2"); err == nil {
			t.Errorf("%s: rebased to nothing", c.command)
		}
		if len(c.layers) > 1 {
			if err := tell(mnt, "commit"); err != nil {
				t.Errorf("%s: commit: %v; %s", c.command, err, errorLog(t, mnt))
			}
		}
		unmount(t, mnt)
		clean(t, at("top.qcow2"))
		if sum(t, at("mid.qcow2")) != mid {
			t.Errorf("%s: the middle layer changed", c.command)
		}
		raw := filepath.Join(dir, "raw")
		os.WriteFile(raw, b, 0o600)
		run(t, qemu, "compare", "-q", "-f", "qcow2", "-F", "raw", at("top.qcow2"), raw)
		if len(c.layers) > 1 {
			run(t, qemu, "compare", "-q", "-F", "raw", at(c.layers[1]), raw)
		}
	}
}

// The size of an image that never becomes smaller is not changed in a batch in which a later line may fail.
func TestBatchOfWhatOnlyGrows(t *testing.T) {
	image := filepath.Join(t.TempDir(), "disk.qed")
	run(t, stock(t, "qemu-img"), "create", "-q", "-f", "qed", image, "16M")
	mnt := mountAt(t, image)
	if err := tell(mnt, "resize 32M\nsnapshot -a nothing"); !errors.Is(err, syscall.EINVAL) || !strings.Contains(errorLog(t, mnt), "write it to ctl alone") {
		t.Errorf("%v; %s", err, errorLog(t, mnt))
	}
	if st, _ := os.Stat(filepath.Join(mnt, "disk.raw")); st.Size() != 16<<20 {
		t.Errorf("size %d", st.Size())
	}
	if err := tell(mnt, "check\nresize 32M\nflush"); err != nil {
		t.Errorf("%v; %s", err, errorLog(t, mnt))
	}
	unmount(t, mnt)
	run(t, stock(t, "qemu-img"), "check", "-q", image)
}
