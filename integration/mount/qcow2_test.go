package mount

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// qcow2Image makes an image with stock qemu-img; args come before the name.
func qcow2Image(t *testing.T, size string, args ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk.qcow2")
	args = append(append([]string{"create", "-q", "-f", "qcow2"}, args...), name)
	if size != "" {
		args = append(args, size)
	}
	run(t, stock(t, "qemu-img"), args...)
	return name
}

// clean checks an image with stock qemu-img: no error, no leak.
func clean(t *testing.T, name string) {
	t.Helper()
	out, stderr, code := try(t, stock(t, "qemu-img"), "check", "-f", "qcow2", name)
	if code != 0 {
		t.Errorf("stock check of %s: exit status %d\n%s%s", name, code, tail(out), stderr)
	}
}

func tail(s string) string {
	if len(s) > 2000 {
		return s[:1000] + "\n...\n" + s[len(s)-1000:]
	}
	return s
}

// A file system made on the mounted disk, filled through a loop device, is sound, and so is the image.
func TestFileSystemsOnQcow2(t *testing.T) {
	need(t, "losetup", "mount", "fsck.ext4", "rsync")
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	src := filepath.Join(strings.TrimSpace(string(root)), "src")
	if _, err := os.Stat(src); err != nil {
		t.Skipf("no files to copy: %v", err)
	}
	for fs, check := range map[string]string{"ext4": "fsck.ext4 -fn", "xfs": "xfs_repair -n", "btrfs": "btrfs check"} {
		t.Run(fs, func(t *testing.T) {
			need(t, "mkfs."+fs, strings.Fields(check)[0])
			files := filepath.Join(src, "net")
			if fs == "ext4" && !testing.Short() {
				files = src
			}
			image := qcow2Image(t, "4G")
			mnt := mountAt(t, image)
			env := []string{"M=" + mnt, "T=" + t.TempDir(), "S=" + files, "FS=" + fs, "CHECK=" + check}
			sh(t, `mkfs.$FS -q "$M/disk.raw"; L=$(losetup -f --show "$M/disk.raw"); trap 'umount "$T" 2>/dev/null || true; losetup -d $L' EXIT
				mount -t $FS "$L" "$T"; cp -a "$S" "$T/files"; fstrim "$T" 2>/dev/null || true; umount "$T"; $CHECK "$L"`, env...)
			unmount(t, mnt)
			clean(t, image)
			mnt = mountAt(t, image)
			env[0] = "M=" + mnt
			sh(t, `L=$(losetup -f --show "$M/disk.raw"); trap 'umount "$T" 2>/dev/null || true; losetup -d $L' EXIT
				mount -t $FS "$L" "$T"; diff -r "$S" "$T/files"; umount "$T"; $CHECK "$M/disk.raw"`, env...)
			unmount(t, mnt)
			clean(t, image)
		})
	}
}

// The same on an overlay of three layers, with four processes that write at once.
func TestChainWithFourWriters(t *testing.T) {
	need(t, "fio", "cmp")
	base := qcow2Image(t, "256M")
	dir := filepath.Dir(base)
	qemu := stock(t, "qemu-img")
	sh(t, `$Q-io -c 'write -P 1 0 64M' -c 'write -P 2 100M 10M' "$B" >/dev/null`, "Q="+strings.TrimSuffix(qemu, "-img"), "B="+base)
	mid, top := filepath.Join(dir, "mid.qcow2"), filepath.Join(dir, "top.qcow2")
	run(t, qemu, "create", "-q", "-f", "qcow2", "-b", "disk.qcow2", "-F", "qcow2", mid)
	sh(t, `$Q-io -c 'write -P 3 32M 64M' -c 'write -z 100M 1M' "$B" >/dev/null`, "Q="+strings.TrimSuffix(qemu, "-img"), "B="+mid)
	run(t, qemu, "create", "-q", "-f", "qcow2", "-b", "mid.qcow2", "-F", "qcow2", top)
	before := sum(t, base)
	shadow := filepath.Join(dir, "shadow.raw")
	run(t, qemu, "convert", "-O", "raw", top, shadow)
	mnt := mountAt(t, top)
	disk := filepath.Join(mnt, "disk.raw")
	if sum(t, disk) != sum(t, shadow) {
		t.Fatal("the mounted chain differs from what stock reads")
	}
	for i, want := range []string{top, mid, base} {
		got, err := os.Readlink(filepath.Join(mnt, "chain", itoa(i), "file"))
		if err != nil || got != want {
			t.Errorf("chain/%d/file: %s, %v", i, got, err)
		}
	}
	for _, f := range []string{disk, shadow} {
		run(t, "fio", "--name=x", "--filename="+f, "--rw=randrw", "--bs=4k-256k", "--size=64M", "--offset_increment=64M",
			"--numjobs=4", "--io_size=32M", "--randseed=7", "--verify=crc32c", "--verify_state_save=0", "--minimal",
			"--allow_file_create=0", "--buffer_pattern=0x5a", "--end_fsync=1")
	}
	unmount(t, mnt)
	if sum(t, base) != before {
		t.Error("the base changed")
	}
	clean(t, top)
	for _, i := range []string{mid, base} {
		clean(t, i)
	}
	mnt = mountAt(t, "-r", top)
	again := filepath.Join(dir, "again.raw")
	run(t, qemu, "convert", "-O", "raw", top, again)
	if sum(t, filepath.Join(mnt, "disk.raw")) != sum(t, again) {
		t.Error("stock reads another content than the mount")
	}
}

// cp copies only what is there, and a loop device's discard shrinks the image: with the next flush, for until then the
// file's tables still refer to what was given up.
func TestSparseCopyAndTrim(t *testing.T) {
	need(t, "losetup", "mkfs.ext4", "fstrim", "cp", "du")
	image := qcow2Image(t, "1G")
	mnt := mountAt(t, image)
	dir := t.TempDir()
	sh(t, `mkfs.ext4 -q -E nodiscard "$M/disk.raw"; cp --sparse=auto "$M/disk.raw" "$D/copy.raw"; cmp "$D/copy.raw" "$M/disk.raw"
		[ $(du -m "$D/copy.raw" | cut -f1) -lt 200 ]
		mkdir "$D/m"; L=$(losetup -f --show "$M/disk.raw"); trap 'umount "$D/m" 2>/dev/null || true; losetup -d $L' EXIT
		mount "$L" "$D/m"; dd if=/dev/urandom of="$D/m/big" bs=1M count=100 status=none; sync -f "$D/m"
		A=$(stat -c %b "$M/disk.raw"); rm "$D/m/big"; sync -f "$D/m"; fstrim "$D/m"; sync "$M/disk.raw"; B=$(stat -c %b "$M/disk.raw")
		umount "$D/m"; echo "$A blocks before, $B after"; [ $((A - B)) -gt 150000 ]`, "M="+mnt, "D="+dir)
	unmount(t, mnt)
	clean(t, image)
}

func TestLayersShowWhatTheyHold(t *testing.T) {
	base := qcow2Image(t, "8M")
	qemu := stock(t, "qemu-img")
	io := strings.TrimSuffix(qemu, "-img") + "-io"
	top := filepath.Join(filepath.Dir(base), "top.qcow2")
	run(t, io, "-c", "write -P 1 0 1M", base)
	run(t, qemu, "create", "-q", "-f", "qcow2", "-b", "disk.qcow2", "-F", "qcow2", top)
	run(t, io, "-c", "write -P 2 2M 1M", top)
	mnt := mountAt(t, top)
	at := func(name string, off int64) byte {
		b, err := os.ReadFile(filepath.Join(mnt, "chain", name))
		if err != nil || len(b) != 8<<20 {
			t.Fatalf("%s: %d bytes, %v", name, len(b), err)
		}
		return b[off]
	}
	for _, c := range []struct {
		name   string
		lo, hi byte
	}{{"0/disk.raw", 1, 2}, {"0/own.raw", 0, 2}, {"1/disk.raw", 1, 0}, {"1/own.raw", 1, 0}} {
		if lo, hi := at(c.name, 0), at(c.name, 2<<20); lo != c.lo || hi != c.hi {
			t.Errorf("%s has %d and %d, want %d and %d", c.name, lo, hi, c.lo, c.hi)
		}
	}
	if err := os.WriteFile(filepath.Join(mnt, "chain/0/disk.raw"), []byte("new"), 0); err != nil {
		t.Error(err)
	}
	if at("0/own.raw", 0) != 'n' || at("1/disk.raw", 0) != 1 {
		t.Error("a write is not seen in own.raw, or went into the base")
	}
	if err := os.WriteFile(filepath.Join(mnt, "chain/1/disk.raw"), []byte("new"), 0); err == nil {
		t.Error("a lower layer was written")
	}
	var m []struct{ Start, Length, Depth int64 }
	b, _ := os.ReadFile(filepath.Join(mnt, "map.json"))
	if err := json.Unmarshal(b, &m); err != nil || len(m) < 4 || m[0].Depth != 0 {
		t.Errorf("map.json: %s, %v", b, err)
	}
	unmount(t, mnt)
	clean(t, top)
}

// Two mounts of an image are refused, and so is a second one that would write a layer below.
func TestLocks(t *testing.T) {
	base := qcow2Image(t, "1M")
	qemu := stock(t, "qemu-img")
	top := filepath.Join(filepath.Dir(base), "top.qcow2")
	run(t, qemu, "create", "-q", "-f", "qcow2", "-b", "disk.qcow2", "-F", "qcow2", top)
	mountAt(t, top)
	for _, image := range []string{top, base} {
		_, stderr, code := try(t, platter, "mount", image, t.TempDir())
		if code != 1 || !strings.Contains(stderr, `lock`) || !strings.Contains(stderr, "Is another process using the image") {
			t.Errorf("mount of %s: exit status %d, %q", image, code, stderr)
		}
		if _, stderr, code := try(t, qemu, "resize", "-f", "qcow2", image, "2M"); code != 1 || !strings.Contains(stderr, "lock") {
			t.Errorf("stock resize of %s: exit status %d, %q", image, code, stderr)
		}
	}
	raw := rawImage(t, 1<<20)
	mountAt(t, "-o", "format=raw", raw)
	if _, stderr, code := try(t, platter, "mount", "-o", "format=raw", raw, t.TempDir()); code != 1 || !strings.Contains(stderr, "lock") {
		t.Errorf("second mount of a raw image: exit status %d, %q", code, stderr)
	}
}
