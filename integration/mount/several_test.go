package mount

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pattern makes a raw image that is full of one byte.
func pattern(t *testing.T, name string, b byte) {
	t.Helper()
	if err := os.WriteFile(name, bytes.Repeat([]byte{b}, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
}

func first(t *testing.T, name string) byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil || len(b) == 0 {
		t.Fatalf("%s: %d bytes, %v", name, len(b), err)
	}
	return b[0]
}

func TestSeveralImages(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.img"), filepath.Join(dir, "sub", "a.img")
	os.Mkdir(filepath.Dir(b), 0o755)
	pattern(t, a, 1)
	pattern(t, b, 2)
	mnt := mountAt(t, "-o", "format=raw", a, b)
	if x, y := first(t, filepath.Join(mnt, "a.img", "disk.raw")), first(t, filepath.Join(mnt, "a.img~2", "disk.raw")); x != 1 || y != 2 {
		t.Errorf("the disks begin with %d and %d", x, y)
	}
	if err := os.WriteFile(filepath.Join(mnt, "a.img~2", "disk.raw"), []byte{9}, 0); err != nil {
		t.Error(err)
	}
	unmount(t, mnt)
	if first(t, a) != 1 || first(t, b) != 9 {
		t.Error("the write went elsewhere")
	}
	_, stderr, code := try(t, platter, "mount", a, filepath.Join(dir, "none"), t.TempDir())
	if code != 1 || !strings.Contains(stderr, "none") {
		t.Errorf("one of two images is missing: exit status %d, %q", code, stderr)
	}
}

// In a mounted directory each image works, and one that is broken shows why and does not disturb the others.
func TestDirectoryOfImages(t *testing.T) {
	dir := t.TempDir()
	pattern(t, filepath.Join(dir, "good.raw"), 3)
	os.WriteFile(filepath.Join(dir, "bad.qcow2"), append([]byte("QFI\xfb\x00\x00\x00\x09"), make([]byte, 600)...), 0o600)
	mnt := mountAt(t, dir)
	list, err := os.ReadDir(mnt)
	if err != nil || len(list) != 2 {
		t.Fatalf("%v, %v", list, err)
	}
	if first(t, filepath.Join(mnt, "good.raw", "disk.raw")) != 3 {
		t.Error("wrong content")
	}
	b, err := os.ReadFile(filepath.Join(mnt, "bad.qcow2", "error_log"))
	if err != nil || !strings.Contains(string(b), "version 9") {
		t.Errorf("error_log of a broken image: %q, %v", b, err)
	}
	pattern(t, filepath.Join(dir, "late.raw"), 4)
	if first(t, filepath.Join(mnt, "late.raw", "disk.raw")) != 4 {
		t.Error("an image that came later has another content")
	}
	if _, err := os.Stat(filepath.Join(mnt, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// An image that nobody uses is closed and its lock released; it opens again when it is used.
func TestIdleImagesAreClosed(t *testing.T) {
	dir := t.TempDir()
	image := filepath.Join(dir, "disk.qcow2")
	run(t, stock(t, "qemu-img"), "create", "-q", "-f", "qcow2", image, "1M")
	mnt := mountAt(t, "-o", "idle=1", dir)
	disk := filepath.Join(mnt, "disk.qcow2", "disk.raw")
	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte{8}); err != nil {
		t.Error(err)
	}
	time.Sleep(2500 * time.Millisecond)
	if _, _, code := try(t, stock(t, "qemu-img"), "resize", "-q", image, "2M"); code == 0 {
		t.Error("the lock was released while a file is open")
	}
	f.Close()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if _, _, code := try(t, stock(t, "qemu-img"), "resize", "-q", image, "2M"); code == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the image is still open")
		}
	}
	if first(t, disk) != 8 {
		t.Error("the write is lost")
	}
	if st, err := os.Stat(disk); err != nil || st.Size() != 2<<20 {
		t.Errorf("size %d, %v", st.Size(), err)
	}
}

func TestOverlayLeavesTheImageAlone(t *testing.T) {
	image := filepath.Join(t.TempDir(), "disk.raw")
	pattern(t, image, 5)
	before := sum(t, image)
	kept := filepath.Join(t.TempDir(), "kept.qcow2")
	for _, option := range []string{"overlay", "overlay=" + kept, "overlay=" + kept} {
		mnt := mountAt(t, "-o", "format=raw", "-o", option, image)
		disk := filepath.Join(mnt, "disk.raw")
		want := byte(5)
		if _, err := os.Stat(kept + ".seen"); err == nil {
			want = 6
		}
		if got := first(t, disk); got != want {
			t.Errorf("%s: disk begins with %d, want %d", option, got, want)
		}
		if err := os.WriteFile(disk, []byte{6}, 0); err != nil {
			t.Errorf("%s: %v", option, err)
		}
		if first(t, disk) != 6 {
			t.Errorf("%s: the write is lost", option)
		}
		unmount(t, mnt)
		if option != "overlay" {
			os.WriteFile(kept+".seen", nil, 0o600)
		}
	}
	if sum(t, image) != before {
		t.Error("the image changed")
	}
	clean(t, kept)
}

func TestReferencesNeedPermission(t *testing.T) {
	base := qcow2Image(t, "1M")
	other := filepath.Join(t.TempDir(), "top.qcow2")
	run(t, stock(t, "qemu-img"), "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", other)
	for refs, ok := range map[string]bool{"none": false, "samedir": false, "file": true, "any": true} {
		mnt := t.TempDir()
		_, stderr, code := try(t, platter, "mount", "-r", "-o", "refs="+refs, other, mnt)
		if (code == 0) != ok || !ok && !strings.Contains(stderr, "not allowed") ||
			refs == "samedir" && !strings.Contains(stderr, "(refs=file allows more)") {
			t.Errorf("refs=%s: exit status %d, %q", refs, code, stderr)
		}
		if code == 0 {
			unmount(t, mnt)
		}
	}
}

// TestExtentsLieBesideTheImage: a descriptor that names a file elsewhere gets nothing opened unless the user says so.
func TestExtentsLieBesideTheImage(t *testing.T) {
	dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(elsewhere, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(dir, "disk.vmdk")
	run(t, stock(t, "qemu-img"), "create", "-q", "-f", "vmdk", "-o", "subformat=monolithicFlat", image, "1M")
	made, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(elsewhere, link); err != nil {
		t.Fatal(err)
	}
	for _, extent := range []string{"disk-flat.vmdk", elsewhere, "../" + filepath.Base(filepath.Dir(elsewhere)) + "/secret", link} {
		if err := os.WriteFile(image, bytes.Replace(made, []byte("disk-flat.vmdk"), []byte(extent), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		for refs, ok := range map[string]bool{"samedir": false, "file": false, "any": true} {
			ok = ok || extent == "disk-flat.vmdk"
			mnt := t.TempDir()
			_, stderr, code := try(t, platter, "mount", "-o", "refs="+refs, image, mnt)
			if (code == 0) != ok || !ok && !(strings.Contains(stderr, "not allowed") && strings.Contains(stderr, "(refs=any allows more)")) {
				t.Errorf("%s, refs=%s: exit status %d, %q", extent, refs, code, stderr)
			}
			if code == 0 {
				unmount(t, mnt)
			}
		}
	}
}

func TestNamesAndNonsense(t *testing.T) {
	_, mnt, disk := mountRaw(t, 1<<20)
	for name, want := range map[string]error{
		"snapshots/x":                           syscall.EOPNOTSUPP,
		"bitmaps/x":                             syscall.EOPNOTSUPP,
		"x":                                     syscall.EPERM,
		"snapshots/" + strings.Repeat("x", 300): syscall.ENAMETOOLONG,
	} {
		if err := os.Mkdir(filepath.Join(mnt, name), 0o755); !errors.Is(err, want) {
			t.Errorf("mkdir %.20s: %v, want %v", name, err, want)
		}
	}
	if b, _ := os.ReadFile(filepath.Join(mnt, "error_log")); !strings.Contains(string(b), "no internal snapshots") {
		t.Errorf("error_log: %q", b)
	}
	if err := os.Truncate(disk, 7<<60); err == nil {
		t.Error("a disk of 8 EiB")
	}
	if err := os.Chmod(disk, 0o777); !errors.Is(err, syscall.EPERM) {
		t.Errorf("chmod: %v", err)
	}
	if err := os.Rename(disk, filepath.Join(mnt, "y")); err == nil {
		t.Error("disk.raw was renamed")
	}
}
