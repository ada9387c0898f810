package mount

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// tell writes a batch to ctl with one write(2).
func tell(mnt, batch string) error {
	f, err := os.OpenFile(filepath.Join(mnt, "ctl"), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(batch)
	return err
}

func errorLog(t *testing.T, mnt string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(mnt, "error_log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestControlResizesAndFlushes(t *testing.T) {
	_, mnt, disk := mountRaw(t, 1<<20)
	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, c := range []struct {
		batch string
		size  int64
	}{{"resize +1M", 2 << 20}, {"resize 4M\nresize +512\n\nflush", 4<<20 + 512}, {"resize --shrink -1M", 3<<20 + 512}, {"resize --shrink '1M'", 1 << 20},
		{"resize 2M", 2 << 20}, {"resize --shrink 1M\nflush\n", 1 << 20}} {
		if err := tell(mnt, c.batch); err != nil {
			t.Errorf("%q: %v; %s", c.batch, err, errorLog(t, mnt))
		}
		if st, err := f.Stat(); err != nil || st.Size() != c.size {
			t.Errorf("%q: size %d, want %d (%v)", c.batch, st.Size(), c.size, err)
		}
	}
}

// Nonsense is refused with the words in error_log, and the good lines before it are not done either.
func TestControlRefusesNonsense(t *testing.T) {
	_, mnt, disk := mountRaw(t, 1<<20)
	for batch, want := range map[string]string{
		"nonsense\n":                             "unknown command 'nonsense'",
		"resize +1M\nresize\n":                   "Expecting image file name and size",
		"resize +1M\nresize x":                   "size",
		"resize 'x":                              "a quote is not closed",
		"snapshot -c a -d b":                     "Cannot mix",
		"convert -O raw x":                       "unknown command",
		"bitmap --add":                           "Expecting filename and bitmap name",
		"resize +1M\nhelp this":                  "unknown command",
		"resize -f raw +1M":                      "option '-f' does nothing here: the image is open already",
		"snapshot -c z -U":                       "option '-U' does nothing here: the image is open already",
		"resize --object secret,id=s,data=x +1M": "option '--object' does nothing here: objects are given to platter mount",
		"resize --image-opts +1M":                "option '--image-opts' does nothing here: the image is open already",
		"commit -t none":                         "option '-t' does nothing here: the image is open already",
		"commit -p":                              "option '-p' does nothing here: stats.json",
		"check --output=json":                    "option '--output' does nothing here: ctl has no output; check.json",
		"check --help":                           "option '--help' does nothing here: ctl has no output; 'platter help'",
		"amend -o help":                          "'platter amend -o help' lists",
		"snapshot -l":                            "option '-l' does nothing here: ctl has no output; the directory snapshots",
		"snapshot":                               "one of -c, -a and -d is expected",
		"snapshot -c a b":                        "Expecting one image file name (in ctl the image has none)",
		"flush now":                              "'flush' takes no arguments",
		"resize +1M\ncancel it":                  "'cancel' takes no arguments",
		strings.Repeat("y", 5000):                " " + strings.Repeat("y", 80) + "...: unknown command '" + strings.Repeat("y", 80) + "':",
		"resize --preallocation=" + strings.Repeat("é", 5000) + " 1M": "resize --preallocation=" + strings.Repeat("é", 57) + "...: Invalid",
	} {
		if err := tell(mnt, batch); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%q: %v, want EINVAL", batch, err)
		}
		if log := errorLog(t, mnt); !strings.Contains(log, want) {
			t.Errorf("%q: error_log has no %q: %s", batch, want, log)
		}
	}
	if err := tell(mnt, "resize 512K"); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("shrinking without --shrink: %v", err)
	}
	if err := tell(mnt, "resize +1M\ncheck"); !errors.Is(err, syscall.EOPNOTSUPP) {
		t.Errorf("a check of a raw image: %v", err)
	}
	if err := tell(mnt, "snapshot -c a"); err == nil {
		t.Error("a snapshot of a raw image")
	}
	if st, _ := os.Stat(disk); st.Size() != 1<<20 {
		t.Errorf("size %d", st.Size())
	}
	for _, line := range strings.Split(errorLog(t, mnt), "\n") {
		if len(line) > 1000 {
			t.Errorf("a line of %d bytes in error_log: %.100s...", len(line), line)
		}
	}
}

// Several lines that a shell writes with cat are one batch.
func TestCatWritesOneBatch(t *testing.T) {
	_, mnt, disk := mountRaw(t, 1<<20)
	for _, shell := range []string{"bash", "sh"} {
		for _, script := range []string{
			"cat > $M/ctl <<END\nresize +1M\nnonsense\nEND\n",
			"cat > $D/lines <<END\nresize +1M\nnonsense\nEND\ncat $D/lines > $M/ctl\n",
		} {
			cmd := exec.Command(shell, "-c", script)
			cmd.Env = append(os.Environ(), "M="+mnt, "D="+t.TempDir())
			if out, err := cmd.CombinedOutput(); err == nil {
				t.Errorf("%s: nonsense was taken: %s", shell, out)
			}
		}
	}
	if st, err := os.Stat(disk); err != nil || st.Size() != 1<<20 {
		t.Errorf("the line before the nonsense was done: size %d, %v", st.Size(), err)
	}
}

// info.json is what the verb prints.
func TestInfoIsTheVerbs(t *testing.T) {
	base := qcow2Image(t, "8M")
	top := filepath.Join(filepath.Dir(base), "top.qcow2")
	run(t, stock(t, "qemu-img"), "create", "-q", "-f", "qcow2", "-b", "disk.qcow2", "-F", "qcow2", top)
	want := run(t, platter, "info", "--output=json", top)
	wantBase := run(t, platter, "info", "--output=json", base)
	wantMap := run(t, platter, "map", "--output=json", top)
	mnt := mountAt(t, "-r", top)
	for name, want := range map[string]string{"info.json": want, "chain/0/info.json": want, "chain/1/info.json": wantBase, "map.json": wantMap} {
		got, err := os.ReadFile(filepath.Join(mnt, name))
		if err != nil || string(got) != want {
			t.Errorf("%s is\n%s\nwant\n%s(%v)", name, got, want, err)
		}
		if st, err := os.Stat(filepath.Join(mnt, name)); err != nil || st.Size() != int64(len(want)) {
			t.Errorf("%s: size %d, want %d (%v)", name, st.Size(), len(want), err)
		}
	}
}

func TestControlOnQcow2(t *testing.T) {
	base := qcow2Image(t, "8M")
	top := filepath.Join(filepath.Dir(base), "top.qcow2")
	run(t, stock(t, "qemu-img"), "create", "-q", "-f", "qcow2", "-b", "disk.qcow2", "-F", "qcow2", top)
	mnt := mountAt(t, top)
	disk := filepath.Join(mnt, "disk.raw")
	if err := os.WriteFile(disk, bytes.Repeat([]byte{3}, 1<<20), 0); err != nil {
		t.Fatal(err)
	}
	if err := tell(mnt, "check\nflush"); err != nil {
		t.Errorf("check: %v; %s", err, errorLog(t, mnt))
	}
	if b, err := os.ReadFile(filepath.Join(mnt, "check.json")); err != nil || !strings.Contains(string(b), `"check-errors": 0`) {
		t.Errorf("check.json: %s, %v", b, err)
	}
	if err := tell(mnt, "commit -b nowhere"); !errors.Is(err, syscall.ENOENT) || !strings.Contains(errorLog(t, mnt), "in the backing chain of '"+top+"'") {
		t.Errorf("commit to nowhere: %v; %s", err, errorLog(t, mnt))
	}
	if err := tell(mnt, "commit"); err != nil {
		t.Errorf("commit: %v; %s", err, errorLog(t, mnt))
	}
	if first(t, filepath.Join(mnt, "chain/1/disk.raw")) != 3 || first(t, disk) != 3 {
		t.Error("the commit did not reach the base")
	}
	if err := tell(mnt, "resize 16M"); err != nil {
		t.Errorf("resize: %v; %s", err, errorLog(t, mnt))
	}
	unmount(t, mnt)
	clean(t, top)
	clean(t, base)
}

// A VMDK refers to its parent by a content ID, which a commit changes: QEMU's leaves an image that cannot be read. In a
// mount the image is in use, and goes on.
func TestCommitOfVMDK(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	vars := []string{"D=" + dir, "Q=" + stock(t, "qemu-img")}
	sh(t, `cd "$D"; head -c 4M /dev/urandom > want; "$Q" convert -O vmdk want base
		"$Q" create -q -f vmdk -b base -F vmdk mid; "$Q" create -q -f vmdk -b mid -F vmdk top; sha256sum base mid > before`, vars...)
	mnt := mountAt(t, at("top"))
	put := func(text, where string) {
		sh(t, `for f in "$M/disk.raw" "$D/want"; do printf %s "$T" | dd of="$f" bs=64k seek="$W" conv=notrunc,fsync status=none; done
			cmp "$M/disk.raw" "$D/want"`, append(vars, "M="+mnt, "T="+text, "W="+where)...)
	}
	put("first", "3")
	if err := tell(mnt, "commit -b base"); !errors.Is(err, syscall.EOPNOTSUPP) || !strings.Contains(errorLog(t, mnt), "would not fit its backing file") {
		t.Errorf("commit below an image that is not written: %v, %s", err, errorLog(t, mnt))
	}
	sh(t, `cd "$D"; sha256sum --quiet -c before`, vars...)
	if err := tell(mnt, "commit"); err != nil {
		t.Fatal(err, errorLog(t, mnt))
	}
	sh(t, `cd "$D"; "$Q" convert -U -O raw mid was; cmp was want`, vars...)
	put("second", "40")
	unmount(t, mnt)
	sh(t, `cd "$D"; "$Q" convert -O raw top is; cmp is want; "$Q" check -q top; "$Q" check -q mid`, vars...)
}
