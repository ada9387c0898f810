package mount

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// What cannot be done is refused with the right errno and with words in error_log, and changes nothing.
func TestBadInputChangesNothing(t *testing.T) {
	image := qcow2Image(t, "8M")
	run(t, stock(t, "qemu-img"), "snapshot", "-c", "kept", image)
	run(t, stock(t, "qemu-img"), "snapshot", "-c", "other", image)
	run(t, stock(t, "qemu-img"), "bitmap", "--add", "--disable", image, "b")
	before := state(t, image)
	mnt := mountAt(t, image)
	disk := filepath.Join(mnt, "disk.raw")
	in := func(dir, name string) string { return mnt + "/" + dir + "/" + name }
	mkdir := func(dir, name string) func() error { return func() error { return os.Mkdir(in(dir, name), 0o755) } }
	readOnly := syscall.EROFS
	if os.Geteuid() != 0 {
		readOnly = syscall.EACCES // the kernel looks at the permissions first
	}
	open, err := os.Open(in("snapshots", "kept/disk.raw"))
	if err != nil {
		t.Fatal(err)
	}
	exchange := func(a, b string) error {
		return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
	}
	long := strings.Repeat("x", 300)
	for _, c := range []struct {
		what  string
		do    func() error
		errno syscall.Errno
		words string // "": the kernel refuses by itself
	}{
		{"nonsense > ctl", func() error { return tell(mnt, "nonsense") }, syscall.EINVAL, "unknown command 'nonsense'"},
		{"binary > ctl", func() error { return tell(mnt, "\x00\xff\x1b[2J") }, syscall.EINVAL, "unknown command"},
		{"a long line > ctl", func() error { return tell(mnt, strings.Repeat("y", 100000)) }, syscall.EINVAL, "unknown command"},
		{"snapshot with a newline", mkdir("snapshots", "a\nb"), syscall.EINVAL, "control characters"},
		{"bitmap with a newline", mkdir("bitmaps", "a\nb"), syscall.EINVAL, "control characters"},
		{"snapshot with another escape", mkdir("snapshots", `a\x41`), syscall.EINVAL, "control characters"},
		{"snapshot with half an escape", mkdir("snapshots", `a\x4`), syscall.EINVAL, "control characters"},
		{"snapshot with /", mkdir("snapshots", "a/b"), syscall.ENOENT, ""},
		{"snapshot of 300 bytes", mkdir("snapshots", long), syscall.ENAMETOOLONG, "has 300 bytes; the most is 255"},
		{"bitmap of 300 bytes", mkdir("bitmaps", long), syscall.ENAMETOOLONG, "has 300 bytes; the most is 255"},
		{"snapshot named as an ID", mkdir("snapshots", "id=9"), syscall.EINVAL, "stand for IDs"},
		{"snapshot that exists", mkdir("snapshots", "kept"), syscall.EEXIST, ""},
		{"mkdir in the root", mkdir(".", "x"), syscall.EPERM, "making directory 'x'"},
		{"rmdir of an open snapshot", func() error { return syscall.Rmdir(in("snapshots", "kept")) }, syscall.EBUSY, "deleting snapshot 'kept': its disk.raw is open: close it"},
		{"rmdir of none", func() error { return syscall.Rmdir(in("snapshots", "none")) }, syscall.ENOENT, ""},
		{"mv to a newline", func() error { return os.Rename(in("snapshots", "kept"), in("snapshots", "a\nb")) }, syscall.EINVAL, "renaming snapshot 'kept'"},
		{"mv of a bitmap to a newline", func() error { return os.Rename(in("bitmaps", "b"), in("bitmaps", "a\nb")) }, syscall.EINVAL, "renaming bitmap 'b'"},
		{"mv elsewhere", func() error { return os.Rename(in("snapshots", "kept"), in("bitmaps", "kept")) }, syscall.EPERM, "moving 'kept': the files of the tree are what the image has"},
		{"mv to the root", func() error { return os.Rename(in("snapshots", "kept"), in(".", "kept")) }, syscall.EPERM, "moving 'kept'"},
		{"mv of a file to the snapshots", func() error { return os.Rename(disk, in("snapshots", "x")) }, syscall.EPERM, "moving 'disk.raw'"},
		{"mv of a bitmap to the snapshots", func() error { return os.Rename(in("bitmaps", "b"), in("snapshots", "b")) }, syscall.EPERM, "moving 'b'"},
		{"exchange of snapshots", func() error { return exchange(in("snapshots", "kept"), in("snapshots", "other")) }, syscall.EINVAL, "renaming 'kept': it cannot be exchanged"},
		{"exchange with a bitmap", func() error { return exchange(in("snapshots", "kept"), in("bitmaps", "b")) }, syscall.EPERM, "moving 'kept'"},
		{"a hard link", func() error { return os.Link(disk, in("snapshots", "x")) }, syscall.EPERM, "making link 'x'"},
		{"a fifo", func() error { return syscall.Mkfifo(in("snapshots", "x"), 0o600) }, syscall.EPERM, "making 'x'"},
		{"rmdir of a directory of the tree", func() error { return syscall.Rmdir(in(".", "chain")) }, syscall.EPERM, "removing 'chain'"},
		{"truncate -s 7E", func() error { return os.Truncate(disk, 7<<60) }, syscall.EFBIG, "resize"},
		{"truncate to less", func() error { return os.Truncate(disk, 1<<20) }, syscall.EPERM, "shrink"},
		{"truncate to odd", func() error { return os.Truncate(disk, 9<<20+1) }, syscall.EINVAL, "multiple of 512"},
		{"resize 8E", func() error { return tell(mnt, "resize 8E") }, syscall.EINVAL, "resize"},
		{"enabled", func() error { return os.WriteFile(in("bitmaps", "b/enabled"), []byte("maybe"), 0) }, syscall.EINVAL, "expected 0 or 1"},
		{"removal of a file", func() error { return os.Remove(disk) }, syscall.EPERM, "removing 'disk.raw'"},
		{"a new file", func() error { return os.WriteFile(in(".", "new"), nil, 0o644) }, syscall.EPERM, "making 'new'"},
		{"a symbolic link", func() error { return os.Symlink("x", in(".", "new")) }, syscall.EPERM, "making link 'new'"},
		{"write to a snapshot", func() error { return os.WriteFile(in("snapshots", "kept/disk.raw"), []byte("x"), 0) }, readOnly, ""},
	} {
		logged := len(errorLog(t, mnt))
		err := c.do()
		if !errors.Is(err, c.errno) {
			t.Errorf("%s: %v, want %v", c.what, err, c.errno)
		}
		if log := errorLog(t, mnt)[logged:]; !strings.Contains(log, c.words) || strings.ContainsAny(strings.TrimSuffix(log, "\n"), "\x1b\x00") {
			t.Errorf("%s: error_log has no %q: %q", c.what, c.words, log)
		}
	}
	if _, _, code := try(t, "truncate", "-s", "8E", disk); code == 0 {
		t.Error("truncate -s 8E")
	}
	open.Close()
	unmount(t, mnt)
	clean(t, image)
	if now := state(t, image); now != before {
		t.Errorf("the image was\n%s\nand is\n%s", before, now)
	}
	raw, mnt, _ := mountRaw(t, 1<<20)
	sumBefore := sum(t, raw)
	for _, dir := range []string{"snapshots", "bitmaps"} {
		if err := os.Mkdir(filepath.Join(mnt, dir, "x"), 0o755); !errors.Is(err, syscall.EOPNOTSUPP) || !strings.Contains(errorLog(t, mnt), "format 'raw' has no") {
			t.Errorf("mkdir in %s of a raw image: %v; %s", dir, err, errorLog(t, mnt))
		}
	}
	unmount(t, mnt)
	if sum(t, raw) != sumBefore {
		t.Error("the raw image changed")
	}
}
