package mount

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Owner and permissions are what the options say, whoever asks; without allow_other nobody else may look.
func TestOwnerAndPermissions(t *testing.T) {
	as := nobody(t)
	dir, err := os.MkdirTemp("", "owner")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	os.Chmod(dir, 0o755)
	image, mnt := filepath.Join(dir, "disk.raw"), filepath.Join(dir, "mnt")
	pattern(t, image, 5)
	os.Mkdir(mnt, 0o755)
	defer give(mnt)
	reads := func() bool {
		_, _, code := try(t, as[0], append(append([]string(nil), as[1:]...), "head", "-c1", mnt+"/disk.raw")...)
		return code == 0
	}
	for _, c := range []struct {
		options, stat string
		others        bool
	}{
		{"format=raw", "600 0 0", false},
		{"format=raw,allow_other", "600 0 0", false},
		{"format=raw,allow_other,umask=022", "600 0 0", false},
		{"format=raw,allow_other,uid=65534,gid=7", "600 65534 7", true},
		{"format=raw,uid=65534", "600 65534 0", false},
		{"format=raw,ro,allow_other,uid=65534", "400 65534 0", true},
	} {
		run(t, platter, "mount", "-o", c.options, image, mnt)
		if got := strings.TrimSpace(run(t, "stat", "-c", "%a %u %g", mnt+"/disk.raw")); got != c.stat {
			t.Errorf("%s: %s, want %s", c.options, got, c.stat)
		}
		if reads() != c.others {
			t.Errorf("%s: others read: %v", c.options, !c.others)
		}
		unmount(t, mnt)
	}
}

// Options that every file system knows are in force, and the last of two that contradict each other counts.
func TestGenericOptions(t *testing.T) {
	needFUSE(t)
	image := rawImage(t, 1<<20)
	for options, want := range map[string]string{
		"defaults":                     "rw,nosuid,nodev,relatime",
		"sync,noexec,noatime":          "rw,sync,nosuid,nodev,noexec,noatime",
		"sync,ro,exec,noexec,async,rw": "rw,nosuid,nodev,noexec,relatime",
		"dirsync,noatime,relatime,ro":  "ro,dirsync,nosuid,nodev,relatime",
		"strictatime,suid,dev":         "rw",
		"nodiratime":                   "rw,nosuid,nodev,nodiratime,relatime",
	} {
		if os.Geteuid() != 0 && (strings.Contains(options, "suid") || options == "nodiratime") {
			continue
		}
		mnt := mountAt(t, "-o", "format=raw,"+options, image)
		b, err := os.ReadFile("/proc/self/mounts")
		if err != nil || !strings.Contains(string(b), " "+mnt+" fuse.platter "+want+",user_id=") {
			t.Errorf("%s: want %s, %v in\n%s", options, want, err, b)
		}
		if strings.HasPrefix(options, "sync,noexec") { // each write is flushed
			os.WriteFile(filepath.Join(mnt, "disk.raw"), []byte("x"), 0)
			if b, err := os.ReadFile(filepath.Join(mnt, "stats.json")); strings.Contains(string(b), `"flushes": 0`) {
				t.Errorf("no flush after a write: %s, %v", b, err)
			}
		}
		unmount(t, mnt)
	}
	if os.Geteuid() == 0 {
		return
	}
	if _, stderr, code := try(t, platter, "mount", "-o", "suid", image, t.TempDir()); code != 1 || !strings.Contains(stderr, "for root only") {
		t.Errorf("suid: exit status %d, %q", code, stderr)
	}
}

// Every way to name an image and its options.
func TestWaysToNameAnImage(t *testing.T) {
	dir := t.TempDir()
	raw, luks := filepath.Join(dir, "disk.raw"), filepath.Join(dir, "disk.luks")
	pattern(t, raw, 5)
	run(t, stock(t, "qemu-img"), "create", "-q", "-f", "luks", "--object", "secret,id=s,data=word", "-o", "key-secret=s,iter-time=10", luks, "1M")
	opts := "driver=luks,key-secret=s,file.filename=" + luks
	run(t, stock(t, "qemu-io"), "--object", "secret,id=s,data=word", "--image-opts", opts, "-c", "write -P 6 0 1M")
	for _, c := range []struct {
		args []string
		want byte
	}{
		{[]string{"-o", "format=raw", raw}, 5},
		{[]string{"--image-opts", "driver=raw,file.filename=" + raw}, 5},
		{[]string{`json:{"driver":"raw","offset":512,"file":{"driver":"file","filename":"` + raw + `"}}`}, 5},
		{[]string{"--object", "secret,id=s,data=word", "--image-opts", opts}, 6},
		{[]string{"-r", "--object", "secret,id=s,data=word", `json:{"driver":"luks","key-secret":"s","file.filename":"` + luks + `"}`}, 6},
	} {
		mnt := mountAt(t, c.args...)
		if got := first(t, filepath.Join(mnt, "disk.raw")); got != c.want {
			t.Errorf("%v: the disk begins with %d", c.args, got)
		}
		unmount(t, mnt)
	}
	_, stderr, code := try(t, platter, "mount", "--object", "secret,id=s,data=wrong", "--image-opts", opts, t.TempDir())
	if code != 1 || !strings.Contains(stderr, "Invalid password") {
		t.Errorf("a wrong password: exit status %d, %q", code, stderr)
	}
}

// mount(8), umount(8) and lines of fstab work where /sbin has the helpers; umount then returns when the image is complete.
// All of it happens in a mount namespace with an /sbin of its own.
func TestMountTypeAndFstab(t *testing.T) {
	need(t, "unshare", "mount", "umount")
	needFUSE(t)
	if os.Geteuid() != 0 {
		t.Skip("mount(8) needs root")
	}
	dir, image := t.TempDir(), filepath.Join(t.TempDir(), "disk image.raw")
	pattern(t, image, 1)
	script := `sbin=$(readlink -f /sbin); cp -a "$sbin" "$D/sbin"; ln -s "$P" "$D/sbin/mount.fuse.platter"; ln -s "$P" "$D/sbin/umount.fuse.platter"
		mount --bind "$D/sbin" "$sbin"; mkdir "$D/m"
		mount -t fuse.platter -o format=raw,noatime,x-systemd.requires=a.mount,_netdev "$I" "$D/m"
		printf one | dd of="$D/m/disk.raw" conv=notrunc status=none; umount "$D/m"; [ "$(head -c 3 "$I")" = one ]
		grep -q "$D/m" /proc/self/mountinfo && exit 3
		printf '%s %s fuse.platter noauto,user,nofail,format=raw,uid=65534,comment=systemd.automount,x-gvfs-hide 0 0\n' "${I// /\\040}" "$D/m" > "$D/fstab"
		mount -T "$D/fstab" "$D/m"; [ "$(stat -c %u "$D/m/disk.raw")" = 65534 ]; findmnt -n -o SOURCE,FSTYPE "$D/m" | grep -q 'disk image.raw fuse.platter'
		printf two | dd of="$D/m/disk.raw" conv=notrunc status=none; umount "$D/m"; [ "$(head -c 3 "$I")" = two ]
		mount -t fuse.platter -o ro,format=raw "$I" "$D/m"; ! touch "$D/m/disk.raw" 2>/dev/null; umount "$D/m"
		! mount -t fuse.platter -o nonsense "$I" "$D/m"
		mount -f -t fuse.platter -o format=raw "$I" "$D/m"; ! mount -f -t fuse.platter "$I.none" "$D/m" 2>/dev/null
		! mount -f -t fuse.platter "$I" "$I" 2>/dev/null; ! mount -f -t fuse.platter -o snapshot=x "$I" "$D/m" 2>/dev/null
		grep -q "$D/m" /proc/self/mountinfo && exit 4
		mount -s -r -n -v -t fuse.platter -o nonsense "$I" "$D/m"; grep -q "$D/m fuse.platter ro," /proc/mounts
		! mount -o remount,rw "$D/m"; umount -n -v "$D/m"
		unshare -m sleep 60 & N=$!; while [ "$(readlink /proc/$N/ns/mnt)" = "$(readlink /proc/$$/ns/mnt)" ]; do sleep 0.01; done
		mount -N $N -w -t fuse.platter -o format=raw "$I" "$D/m"; grep -q "$D/m fuse.platter rw," /proc/$N/mounts
		grep -q "$D/m" /proc/self/mountinfo && exit 5
		umount -N $N "$D/m"; grep -q "$D/m" /proc/$N/mounts && exit 6; kill $N`
	cmd := exec.Command("unshare", "-m", "--propagation", "private", "bash", "-euo", "pipefail", "-c", script)
	cmd.Env = append(os.Environ(), "D="+dir, "I="+image, "P="+platter)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "Unknown mount option 'nonsense'") ||
		!strings.Contains(string(out), "options of a mount cannot be changed") {
		t.Errorf("%v: %s", err, out)
	}
}

// The unit starts what it says, told by the same words that systemd would give it.
func TestSystemdUnit(t *testing.T) {
	needFUSE(t)
	unit, err := os.ReadFile("../../cmd/platter/systemd/platter@.service")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("systemd-analyze"); err == nil {
		copied := filepath.Join(t.TempDir(), "platter@.service")
		os.WriteFile(copied, []byte(strings.Replace(string(unit), "ExecStart=platter", "ExecStart="+platter, 1)), 0o644)
		out, _, _ := try(t, "systemd-analyze", "verify", "--man=no", strings.Replace(copied, "@", "@images-disk", 1))
		if strings.Contains(out, "platter@") {
			t.Errorf("systemd-analyze: %s", out)
		}
	} else {
		t.Log("systemd-analyze is not installed")
	}
	var line string
	for _, l := range strings.Split(string(unit), "\n") {
		if v, ok := strings.CutPrefix(l, "ExecStart=platter "); ok {
			line = v
		}
	}
	image, run := rawImage(t, 1<<20), t.TempDir()
	os.MkdirAll(filepath.Join(run, "platter", "x"), 0o755)
	line = strings.NewReplacer("$PLATTER_OPTIONS", "-o format=raw", "%f", image, "%t", run, "%i", "x").Replace(line)
	cmd := exec.Command(platter, strings.Fields(line)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	mnt := filepath.Join(run, "platter", "x")
	defer give(mnt)
	waitFor(t, "the tree", func() bool { _, err := os.Stat(filepath.Join(mnt, "disk.raw")); return err == nil })
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
}

// An image that cannot be written is mounted read-only, with a word about it: by its permissions, by an attribute, by
// its file system, or by its format.
func TestWhatCannotBeWrittenIsReadOnly(t *testing.T) {
	as := nobody(t)
	dir, err := os.MkdirTemp("", "protected")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	os.Chmod(dir, 0o755)
	mnt := filepath.Join(dir, "mnt")
	os.Mkdir(mnt, 0o755)
	os.Chown(mnt, 65534, 65534)
	image := filepath.Join(dir, "disk.qcow2")
	run(t, stock(t, "qemu-img"), "create", "-q", "-f", "qcow2", image, "1M")
	before := sum(t, image)
	defer give(mnt)
	look := func(how, stderr string, code int, as ...string) {
		t.Helper()
		if code != 0 || !strings.Contains(stderr, "cannot be written and is mounted read-only") {
			t.Errorf("%s: exit status %d, %q", how, code, stderr)
			return
		}
		out, _, _ := try(t, "bash", append([]string{"-c", `"$@"`, "x"}, append(as, "bash", "-c", `stat -c %a "$0/disk.raw"; echo x > "$0/disk.raw"; head -c 1 "$0/disk.raw" | xxd -p`, mnt)...)...)
		if out != "400\n00\n" {
			t.Errorf("%s: %q", how, out)
		}
		try(t, "bash", append([]string{"-c", `"$@"`, "x"}, append(as, platter, "unmount", mnt)...)...)
	}
	os.Chmod(image, 0o444)
	_, stderr, code := try(t, as[0], append(append([]string(nil), as[1:]...), platter, "mount", image, mnt)...)
	look("permissions", stderr, code, as...)
	if _, _, code := try(t, "chattr", "+i", image); code == 0 {
		_, stderr, code = try(t, platter, "mount", image, mnt)
		look("chattr +i", stderr, code)
		run(t, "chattr", "-i", image)
	}
	ro := filepath.Join(dir, "ro")
	os.Mkdir(ro, 0o755)
	sh(t, `mount --bind "$D" "$D/ro"; mount -o remount,bind,ro "$D/ro"`, "D="+dir)
	_, stderr, code = try(t, platter, "mount", filepath.Join(ro, "disk.qcow2"), mnt)
	look("read-only file system", stderr, code)
	syscall.Unmount(ro, 0)
	if sum(t, image) != before {
		t.Error("the image changed")
	}
	dmg, _ := filepath.Glob(filepath.Join(corpus(), "*", "*.dmg"))
	if len(dmg) == 0 {
		t.Log("no dmg image in the corpus")
		return
	}
	_, stderr, code = try(t, platter, "mount", dmg[0], mnt)
	if code != 0 || !strings.Contains(stderr, "is mounted read-only: Image is read-only") {
		t.Errorf("dmg: exit status %d, %q", code, stderr)
	}
}

// Images of a directory are opened when they are used, not before.
func TestDirectoryOpensWhatIsUsed(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.qcow2", "b.qcow2"} {
		run(t, stock(t, "qemu-img"), "create", "-q", "-f", "qcow2", filepath.Join(dir, name), "1M")
	}
	mnt := mountAt(t, dir)
	run(t, "ls", "-l", mnt)
	first(t, filepath.Join(mnt, "a.qcow2", "disk.raw"))
	for name, free := range map[string]bool{"a.qcow2": false, "b.qcow2": true} {
		if _, _, code := try(t, stock(t, "qemu-img"), "resize", "-q", filepath.Join(dir, name), "2M"); (code == 0) != free {
			t.Errorf("%s: stock resize has exit status %d", name, code)
		}
	}
	if st, err := os.Stat(filepath.Join(mnt, "b.qcow2", "disk.raw")); err != nil || st.Size() != 2<<20 {
		t.Errorf("%v, %v", st, err)
	}
	os.WriteFile(filepath.Join(dir, "c.raw"), make([]byte, 512), 0o600)
	run(t, "test", "-d", filepath.Join(mnt, "c.raw"))
	os.Remove(filepath.Join(dir, "c.raw"))
	if _, err := os.Stat(filepath.Join(mnt, "c.raw")); !os.IsNotExist(err) {
		t.Errorf("a file that is not there any more, and is not open: %v", err)
	}
	if os.Geteuid() == 0 { // who may read everything
		return
	}
	os.Chmod(dir, 0)
	defer os.Chmod(dir, 0o700)
	unmount(t, mnt)
	if _, stderr, code := try(t, platter, "mount", dir, mnt); code != 1 || !strings.Contains(stderr, "Could not read directory '"+dir+"': Permission denied") {
		t.Errorf("a directory that cannot be read: exit status %d, %s", code, stderr)
	}
}
