package mount

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// Snapshots are made, read, and deleted as directories; stock tools see the same.
func TestSnapshotDirectories(t *testing.T) {
	image := qcow2Image(t, "64M")
	mnt := mountAt(t, image)
	disk := filepath.Join(mnt, "disk.raw")
	write := func(text string) {
		t.Helper()
		f, err := os.OpenFile(disk, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt([]byte(text), 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	at := func(name string) string {
		t.Helper()
		b, err := os.ReadFile(name)
		if err != nil || len(b) != 64<<20 {
			t.Fatalf("%s: %d bytes, %v", name, len(b), err)
		}
		return string(b[1<<20 : 1<<20+3])
	}
	write("one")
	first := filepath.Join(mnt, "snapshots", "first")
	if err := os.Mkdir(first, 0o755); err != nil {
		t.Fatalf("%v; %s", err, errorLog(t, mnt))
	}
	write("two")
	if err := os.Mkdir(filepath.Join(mnt, "snapshots", `a\x2fb`), 0o755); err != nil {
		t.Fatal(err)
	}
	write("end")
	for name, want := range map[string]string{"snapshots/first": "one", `snapshots/a\x2fb`: "two", "snapshots/id=1": "one"} {
		if got := at(filepath.Join(mnt, name, "disk.raw")); got != want {
			t.Errorf("%s has %q, want %q", name, got, want)
		}
	}
	if got := at(disk); got != "end" {
		t.Errorf("the disk has %q", got)
	}
	if list := run(t, "ls", filepath.Join(mnt, "snapshots")); list != "a\\x2fb\nfirst\n" {
		t.Errorf("ls: %q", list)
	}
	f, err := os.Open(filepath.Join(first, "disk.raw"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(first); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("rmdir of an open snapshot: %v", err)
	}
	if err := tell(mnt, "snapshot -d first"); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("snapshot -d of an open snapshot: %v", err)
	}
	f.Close()
	if err := tell(mnt, "snapshot -a first"); err != nil {
		t.Errorf("%v; %s", err, errorLog(t, mnt))
	}
	if got := at(disk); got != "one" {
		t.Errorf("after going back the disk has %q", got)
	}
	if err := os.Remove(first); err != nil {
		t.Errorf("rmdir: %v; %s", err, errorLog(t, mnt))
	}
	for from, to := range map[string]string{`snapshots/a\x2fb`: "snapshots/moved", "snapshots/moved": `snapshots/a\x2fb`} {
		if _, err := os.Stat(filepath.Join(mnt, from)); err != nil {
			continue
		}
		if err := os.Rename(filepath.Join(mnt, from), filepath.Join(mnt, to)); err != nil {
			t.Errorf("mv: %v; %s", err, errorLog(t, mnt))
		}
		if got := at(filepath.Join(mnt, to, "disk.raw")); got != "two" {
			t.Errorf("after mv %s has %q", to, got)
		}
	}
	os.Rename(filepath.Join(mnt, "snapshots/moved"), filepath.Join(mnt, `snapshots/a\x2fb`))
	unmount(t, mnt)
	clean(t, image)
	if out := run(t, stock(t, "qemu-img"), "snapshot", "-l", image); !strings.Contains(out, "a/b") || strings.Contains(out, "first") {
		t.Errorf("stock lists\n%s", out)
	}
	mnt = mountAt(t, "-o", "snapshot=a/b", image)
	if got := at(filepath.Join(mnt, "disk.raw")); got != "two" {
		t.Errorf("-o snapshot= shows %q", got)
	}
	unmount(t, mnt)
	clean(t, image)
}

// A snapshot under four writers is one point in time: what was finished when mkdir began is in it, what began after
// mkdir returned is not, and of each writer it has a beginning of what was written.
func TestSnapshotsUnderWritersAreOnePoint(t *testing.T) {
	const slots, each = 256, 16 << 20
	image := qcow2Image(t, "64M")
	mnt := mountAt(t, image)
	var done [4]atomic.Uint64
	var stop atomic.Bool
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			f, err := os.OpenFile(filepath.Join(mnt, "disk.raw"), os.O_RDWR, 0)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			for n := uint64(1); !stop.Load(); n++ {
				if _, err := f.WriteAt(binary.LittleEndian.AppendUint64(nil, n), int64(w)*each+int64(n%slots)*4096*9); err != nil {
					t.Error(err)
					return
				}
				done[w].Store(n)
			}
		}()
	}
	for round := range rounds(15, 50) {
		var before, after [4]uint64
		for w := range before {
			before[w] = done[w].Load()
		}
		dir := filepath.Join(mnt, "snapshots", "s"+itoa(round))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatalf("%v; %s", err, errorLog(t, mnt))
		}
		for w := range after {
			after[w] = done[w].Load() + 1 // the one under way may be in it
		}
		b, err := os.ReadFile(filepath.Join(dir, "disk.raw"))
		if err != nil {
			t.Fatal(err)
		}
		for w := range 4 {
			var last uint64
			for s := range slots {
				last = max(last, binary.LittleEndian.Uint64(b[w*each+s*4096*9:]))
			}
			if last < before[w] || last > after[w] {
				t.Errorf("round %d: writer %d is at %d, %d was finished before and %d begun after", round, w, last, before[w], after[w])
			}
			for s := range slots {
				got := binary.LittleEndian.Uint64(b[w*each+s*4096*9:])
				if want := last - (last-uint64(s)+slots*1000)%slots; last > slots && got != want {
					t.Fatalf("round %d: writer %d has %d in slot %d, want %d: a later write is there without an earlier one", round, w, got, s, want)
				}
			}
		}
		if round%3 == 2 {
			if err := os.Remove(filepath.Join(mnt, "snapshots", "s"+itoa(round-1))); err != nil {
				t.Errorf("rmdir: %v; %s", err, errorLog(t, mnt))
			}
		}
	}
	stop.Store(true)
	wg.Wait()
	unmount(t, mnt)
	clean(t, image)
}

// An incremental backup with cp: ten generations of changes restore to the same disk, by the judgement of stock qemu-img.
func TestIncrementalBackup(t *testing.T) {
	need(t, "cp")
	image := qcow2Image(t, "64M")
	backup := filepath.Join(t.TempDir(), "backup.raw")
	mnt := mountAt(t, image)
	disk := filepath.Join(mnt, "disk.raw")
	run(t, "cp", "--sparse=always", disk, backup)
	for gen := range 10 {
		dir := filepath.Join(mnt, "bitmaps", "b")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatalf("%v; %s", err, errorLog(t, mnt))
		}
		f, err := os.OpenFile(disk, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		for k := range 5 {
			if _, err := f.WriteAt([]byte("generation "+itoa(gen)), int64((gen*7+k*13)%63)<<20+int64(k)*1000); err != nil {
				t.Error(err)
			}
		}
		f.Close()
		inc := backup + ".inc"
		os.Remove(inc) // a copy of a read-only file is read-only
		run(t, "cp", "--sparse=always", filepath.Join(dir, "changed.raw"), inc)
		apply(t, filepath.Join(dir, "extents.json"), inc, backup)
		if sum(t, backup) != sum(t, disk) {
			t.Fatalf("generation %d: the backup differs from the disk", gen)
		}
		if st, _ := os.Stat(inc); st.Sys().(*syscall.Stat_t).Blocks*512 > 8<<20 {
			t.Errorf("generation %d: the increment takes %d bytes", gen, st.Sys().(*syscall.Stat_t).Blocks*512)
		}
		if gen == 5 { // bitmaps survive an unmount and go on recording
			unmount(t, mnt)
			clean(t, image)
			if out := run(t, stock(t, "qemu-img"), "info", image); !strings.Contains(out, "name: b") {
				t.Errorf("stock knows no bitmap:\n%s", out)
			}
			run(t, platter, "mount", image, mnt)
		}
		if err := os.Rename(dir, dir+"2"); err != nil {
			t.Errorf("mv: %v; %s", err, errorLog(t, mnt))
		}
		if err := os.Remove(dir + "2"); err != nil {
			t.Fatalf("%v; %s", err, errorLog(t, mnt))
		}
		unmount(t, mnt)
		clean(t, image)
		run(t, stock(t, "qemu-img"), "compare", "-f", "qcow2", "-F", "raw", image, backup)
		run(t, platter, "mount", image, mnt)
	}
	unmount(t, mnt)
	clean(t, image)
}

// apply copies the ranges of extents.json from one file into another.
func apply(t *testing.T, extents, from, to string) {
	t.Helper()
	var list []struct{ Start, Length int64 }
	readJSON(t, extents, &list)
	src, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	for _, e := range list {
		p := make([]byte, e.Length)
		if _, err := src.ReadAt(p, e.Start); err != nil {
			t.Fatal(err)
		}
		if _, err := dst.WriteAt(p, e.Start); err != nil {
			t.Fatal(err)
		}
	}
}
