package mount

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// shared is a writable mapping of the first n bytes of a file, as long as the test runs.
func shared(t *testing.T, name string, n int) []byte {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := unix.Mmap(int(f.Fd()), 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(m) })
	return m
}

// What was stored through a mapping before a snapshot was asked for is in it, without msync, whoever else stores at the
// same time, and however it is asked for.
func TestSnapshotsHaveWhatWasStored(t *testing.T) {
	need(t, "sfdisk")
	const rounds, pages, page = 25, 20, 4096
	image := qcow2Image(t, "64M")
	mnt := mountAt(t, image)
	sh(t, `echo '1M,32M,83' | sfdisk -q $D`, "D="+filepath.Join(mnt, "disk.raw"))
	var all sync.WaitGroup
	for who, file := range []string{"disk.raw", "disk.raw", "partitions/p1.raw", "partitions/p1.raw"} {
		m := shared(t, filepath.Join(mnt, file), 1<<20)
		all.Go(func() {
			for round := range rounds {
				text := fmt.Appendf(nil, "%d-%06d", who, round)
				for k := 1; k <= pages; k++ {
					copy(m[k*2*page+who*100:], text)
				}
				name := fmt.Sprintf("s%d-%d", who, round)
				dir := filepath.Join(mnt, "snapshots", name)
				var err error
				if round%2 == 0 {
					err = os.Mkdir(dir, 0o755)
				} else {
					err = tell(mnt, "snapshot -c "+name)
				}
				if err == nil {
					err = stored(filepath.Join(dir, file), text, pages, 2*page, who*100)
				}
				if err == nil {
					err = os.Remove(dir)
				}
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
			}
		})
	}
	all.Wait()
	if t.Failed() {
		t.Log(errorLog(t, mnt))
	}
}

// stored looks for a text at several places of a file.
func stored(name string, text []byte, times, step, off int) error {
	b := make([]byte, (times+1)*step)
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.ReadAt(b, 0); err != nil {
		return err
	}
	for k := 1; k <= times; k++ {
		if got := b[k*step+off:][:len(text)]; !bytes.Equal(got, text) {
			return fmt.Errorf("%q at %d, want %q", got, k*step+off, text)
		}
	}
	return nil
}

// What replaces the content of the disk replaces what was stored through a mapping before; a bitmap that begins or ends
// to record counts it as before; a commit has it.
func TestCommandsSeeWhatWasStored(t *testing.T) {
	base := qcow2Image(t, "8M")
	top := filepath.Join(filepath.Dir(base), "top.qcow2")
	run(t, platter, "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", top)
	mnt := mountAt(t, top)
	disk := filepath.Join(mnt, "disk.raw")
	m := shared(t, disk, 1<<20)
	do := func(line string) {
		t.Helper()
		if err := tell(mnt, line); err != nil {
			t.Fatalf("%s: %v; %s", line, err, errorLog(t, mnt))
		}
	}
	copy(m, "one")
	do("snapshot -c n")
	copy(m, "two")
	do("snapshot -a n")
	if got, err := os.ReadFile(disk); err != nil || string(got[:3]) != "one" || string(m[:3]) != "one" {
		t.Errorf("after the snapshot was applied the file has %q and the mapping %q, %v", got[:3], m[:3], err)
	}
	copy(m, "three")
	do("bitmap --add b")
	if e := extents(t, mnt, "b"); strings.Contains(e, "start") {
		t.Errorf("what was stored before the bitmap was added is in it: %s", e)
	}
	copy(m[512<<10:], "four")
	if err := os.WriteFile(filepath.Join(mnt, "bitmaps", "b", "enabled"), []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	copy(m, "five")
	if e := extents(t, mnt, "b"); !strings.Contains(e, `"start": 524288`) || strings.Contains(e, `"start": 0`) {
		t.Errorf("the bitmap that was stopped has %s", e)
	}
	do("bitmap --remove b")
	do("snapshot -d n")
	copy(m, "six")
	do("commit")
	if b, err := os.ReadFile(filepath.Join(mnt, "chain", "1", "disk.raw")); err != nil || string(b[:3]) != "six" {
		t.Errorf("the commit has %q, %v", b[:3], err)
	}
}
