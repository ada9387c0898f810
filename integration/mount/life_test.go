package mount

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// mount(8) and umount(8) work through the helpers: umount returns when the image is complete.
func TestMountHelpers(t *testing.T) {
	need(t, "mount", "umount")
	needFUSE(t)
	if os.Geteuid() != 0 {
		t.Skip("mount(8) needs root")
	}
	dir, image, mnt := t.TempDir(), rawImage(t, 1<<20), t.TempDir()
	for _, name := range []string{"mount.fuse.platter", "umount.fuse.platter"} {
		if err := os.Symlink(platter, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	run(t, filepath.Join(dir, "mount.fuse.platter"), image, mnt, "-n", "-o", "rw,format=raw,nofail,x-systemd.automount,_netdev,relatime")
	defer give(mnt)
	daemon := pid(t, mnt)
	if err := os.WriteFile(filepath.Join(mnt, "disk.raw"), []byte("x"), 0); err != nil {
		t.Error(err)
	}
	if out := run(t, platter, "list"); !strings.Contains(out, image+" on "+mnt+": format raw, pid "+itoa(daemon)) {
		t.Errorf("list: %s", out)
	}
	run(t, filepath.Join(dir, "umount.fuse.platter"), mnt, "-n")
	waitGone(t, daemon)
	if out := run(t, platter, "list"); strings.Contains(out, mnt) {
		t.Errorf("list after unmount: %s", out)
	}
}

// An unprivileged user mounts through fusermount3, and only that user sees the tree.
func TestUnprivilegedUser(t *testing.T) {
	as := nobody(t)
	dir, err := os.MkdirTemp("", "platter-nobody")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	os.Chmod(dir, 0o755)
	image, mnt := filepath.Join(dir, "disk.raw"), filepath.Join(dir, "mnt")
	pattern(t, image, 7)
	os.Mkdir(mnt, 0o755)
	for _, name := range []string{dir, image, mnt} {
		os.Chown(name, 65534, 65534)
	}
	nobody := func(args ...string) (string, string, int) {
		return try(t, as[0], append(append([]string(nil), as[1:]...), args...)...)
	}
	if _, stderr, code := nobody(platter, "mount", "-o", "format=raw", image, mnt); code != 0 {
		t.Fatalf("exit status %d, %s", code, stderr)
	}
	defer syscall.Unmount(mnt, syscall.MNT_DETACH)
	script := `cd "$0"; ls -l; dd if=/dev/zero of=disk.raw bs=1M count=1 conv=notrunc oflag=direct; cmp -n 1048576 disk.raw /dev/zero; cat stats.json map.json`
	if out, stderr, code := nobody("bash", "-ec", script, mnt); code != 0 {
		t.Errorf("exit status %d\n%s%s", code, out, stderr)
	}
	if _, err := os.ReadDir(mnt); err == nil {
		t.Error("root sees the tree without allow_other")
	}
	if out := run(t, platter, "list"); !strings.Contains(out, mnt+": format raw") {
		t.Errorf("root's list: %s", out)
	}
	if _, stderr, code := nobody(platter, "unmount", mnt); code != 0 {
		t.Errorf("unmount: exit status %d, %s", code, stderr)
	}
	if first(t, image) != 0 {
		t.Error("the write is not in the image")
	}
}

// tmpfs makes a small file system, for root only.
func tmpfs(t *testing.T, size string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting a file system needs root")
	}
	dir := filepath.Join(t.TempDir(), "small")
	os.Mkdir(dir, 0o755)
	run(t, "mount", "-t", "tmpfs", "-o", "size="+size, "none", dir)
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// A full file system below is reported, writes in place go on, and with space again everything reaches the image.
func TestFullHostFileSystem(t *testing.T) {
	need(t, "mount", "losetup", "mkfs.ext4")
	needFUSE(t)
	full := tmpfs(t, "8m")
	image := filepath.Join(full, "disk.qcow2")
	run(t, stock(t, "qemu-img"), "create", "-q", "-f", "qcow2", image, "64M")
	mnt := mountAt(t, image)
	f, err := os.OpenFile(filepath.Join(mnt, "disk.raw"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	buf := make([]byte, 1<<20)
	for i := range buf {
		buf[i] = byte(i)
	}
	var wrote int64
	for ; wrote < 32<<20; wrote += int64(len(buf)) {
		if _, err = f.WriteAt(buf, wrote); err != nil {
			break
		}
	}
	if e, ok := unwrapErrno(err); !ok || e != syscall.ENOSPC {
		t.Fatalf("after %d bytes: %v, want no space", wrote, err)
	}
	if _, err := f.WriteAt(buf, 0); err != nil {
		t.Errorf("a write in place: %v", err)
	}
	f.Sync() // may fail: metadata of what was acknowledged may find no space either
	if b, _ := os.ReadFile(filepath.Join(mnt, "error_log")); !strings.Contains(string(b), "No space left on device") {
		t.Errorf("error_log: %q", b)
	}
	run(t, "mount", "-o", "remount,size=64m", full)
	if err := f.Sync(); err != nil {
		t.Errorf("fsync when there is space again: %v", err)
	}
	f.Close()
	unmount(t, mnt)
	out, stderr, code := try(t, stock(t, "qemu-img"), "check", image)
	if code != 0 && code != 3 {
		t.Errorf("stock check: exit status %d\n%s%s", code, out, stderr)
	}
}

func unwrapErrno(err error) (syscall.Errno, bool) {
	p, ok := err.(*os.PathError)
	if !ok {
		return 0, false
	}
	e, ok := p.Err.(syscall.Errno)
	return e, ok
}

// A process that waits for the tree is told when it answers, as systemd is.
func TestNotifiesTheServiceManager(t *testing.T) {
	needFUSE(t)
	need(t, "python3")
	image, mnt := rawImage(t, 1<<20), t.TempDir()
	cmd := exec.Command("python3", "-c", `
import os, socket, subprocess, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); name = sys.argv[2] + ".sock"; s.bind(name); s.settimeout(20)
p = subprocess.Popen([sys.argv[1], "mount", "-f", "-o", "format=raw", sys.argv[3], sys.argv[2]], env=dict(os.environ, NOTIFY_SOCKET=name))
print(s.recv(100)); os.stat(sys.argv[2] + "/disk.raw"); p.terminate(); sys.exit(p.wait())`, platter, mnt, image)
	start := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "READY=1") {
		t.Errorf("%v after %v: %s", err, time.Since(start), out)
	}
	give(mnt)
}
