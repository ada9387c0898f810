package mount

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// step is a part of a person's session. $M is the mount, $D a directory for other files, which stays between steps.
type step struct {
	name   string
	loop   bool // needs loop devices
	script string
}

// session is what a person does to one disk, in order, with the tools that everybody has.
var session = []step{
	{"sfdisk", false, `printf 'label: gpt\nsize=48M,name=root\nsize=24M,name=data\nsize=1M,name=notes\n' | sfdisk -q "$M/disk.raw"
		sfdisk -J "$M/disk.raw" | grep -q '"name": "notes"'; [ "$(stat -c %s "$M/partitions/p3.raw")" = 1048576 ]`},
	{"mkfs", false, `mkfs.ext4 -q -L rootfs "$M/partitions/p1.raw"; mkfs.vfat -n DATA "$M/partitions/p2.raw" >/dev/null
		[ "$(readlink "$M/partitions/by-label/rootfs")" = ../p1.raw ]; [ "$(readlink "$M/partitions/by-label/DATA")" = ../p2.raw ]`},
	{"blkid and file", false, `blkid -p "$M/disk.raw" | grep -q 'PTTYPE="gpt"'; blkid -p "$M/partitions/p1.raw" | grep -q 'LABEL="rootfs"'
		file "$M/disk.raw" | grep -q 'boot sector'; file "$M/partitions/p1.raw" | grep -q 'ext4 filesystem'; file "$M/partitions/p2.raw" | grep -q 'FAT'
		[ "$(getfattr --only-values -n user.platter.format "$M/disk.raw")" = qcow2 ]`},
	{"debugfs", false, `echo hello > "$D/hello"; debugfs -w -R "write $D/hello hello" "$M/partitions/p1.raw" 2>/dev/null
		[ "$(debugfs -R 'cat hello' "$M/partitions/by-partlabel/root" 2>/dev/null)" = hello ]; fsck.ext4 -fn "$M/partitions/p1.raw"`},
	{"fuse2fs", false, `mkdir -p "$D/f2"; fuse2fs -o rw,fakeroot "$M/partitions/p1.raw" "$D/f2" || fuse2fs -o fakeroot "$M/partitions/p1.raw" "$D/f2"
		trap 'fusermount3 -u "$D/f2" || true' EXIT; cp /etc/services "$D/f2/" 2>/dev/null || cp /etc/passwd "$D/f2/services"; mkdir "$D/f2/dir"; ls "$D/f2" > "$D/list"
		fusermount3 -u "$D/f2"; trap - EXIT; for i in $(seq 100); do pgrep -f "fuse2fs.*$M" >/dev/null || break; sleep 0.05; done
		grep -q hello "$D/list"; fsck.ext4 -fp "$M/partitions/p1.raw" >/dev/null || [ $? -le 1 ]; fsck.ext4 -fn "$M/partitions/p1.raw"
		debugfs -R 'ls' "$M/partitions/p1.raw" 2>/dev/null | grep -q services`},
	{"mount -o loop", true, `mkdir -p "$D/fs"; mount -o loop "$M/partitions/p1.raw" "$D/fs"; trap 'umount "$D/fs"' EXIT
		tar -C / -cf - etc/ssl etc/default etc/passwd | tar -C "$D/fs" -xf -; diff -r --no-dereference /etc/default "$D/fs/etc/default"; sha256sum "$D/fs/etc/passwd" | cut -c-64 > "$D/sum"
		umount "$D/fs"; trap - EXIT; debugfs -R 'cat etc/passwd' "$M/partitions/p1.raw" 2>/dev/null | sha256sum | cut -c-64 | cmp - "$D/sum"; fsck.ext4 -fn "$M/partitions/p1.raw"`},
	{"losetup -P", true, `L=$(losetup -P -f --show "$M/disk.raw"); trap 'umount "$D/fs" 2>/dev/null || true; losetup -d $L' EXIT
		[ -d /sys/block/${L#/dev/}/${L#/dev/}p1 ] || partx -a $L # a kernel without tables of its own
		[ "$(cat /sys/block/${L#/dev/}/${L#/dev/}p1/size)" = 98304 ]; P=${L}p1
		[ -b "$P" ] || { P="$D/node"; mknod "$P" b $(tr : ' ' < /sys/block/${L#/dev/}/${L#/dev/}p1/dev); }
		mount "$P" "$D/fs"; dd if=/dev/urandom of="$D/fs/junk" bs=1M count=20 status=none; cp /etc/passwd "$D/fs/copy"; sync -f "$D/fs"; rm "$D/fs/junk"; sync -f "$D/fs"
		A=$(stat -c %b "$M/disk.raw"); fstrim "$D/fs"; umount "$D/fs"; fsck.ext4 -fn "$P"; B=$(stat -c %b "$M/disk.raw"); rm -f "$D/node"; [ $((A - B)) -gt 30000 ]`},
	{"dd", false, `R="$D/random"; dd if=/dev/urandom of="$R" bs=1M count=4 status=none; P="$M/partitions/p2.raw"
		for how in conv=notrunc,fsync conv=notrunc,fdatasync,nocreat oflag=direct oflag=dsync oflag=sync,nonblock "oflag=direct,sync conv=notrunc" conv=sparse,notrunc; do
			dd if="$R" of="$P" bs=256k $how status=none; cmp -n 4194304 "$R" "$P"; dd if=/dev/zero of="$P" bs=1M count=4 conv=notrunc status=none
		done
		dd if="$R" of="$P" bs=4k seek=1000001 oflag=seek_bytes conv=notrunc status=none; cmp -i 0:1000001 -n 4194304 "$R" "$P"
		for how in iflag=direct iflag=nocache iflag=fullblock "iflag=skip_bytes,count_bytes skip=1000001 count=3000000" "bs=512 skip=7 count=4000"; do
			dd if="$P" bs=64k $how status=none | sha256sum; done | sort -u | wc -l | grep -qx 3
		! dd if="$R" of="$M/disk.raw" conv=excl status=none 2>/dev/null; ! dd if="$R" of="$P" bs=1M seek=23 status=none 2>/dev/null
		! dd if="$R" of="$P" oflag=append conv=notrunc bs=512 count=1 status=none 2>/dev/null; [ "$(stat -c %s "$P")" = 25165824 ]`},
	{"rsync --inplace", false, `cp "$M/partitions/p2.raw" "$D/p2"; printf change | dd of="$D/p2" bs=1 seek=5000 conv=notrunc status=none
		rsync --ignore-times --inplace --no-whole-file "$D/p2" "$M/partitions/p2.raw"; cmp "$D/p2" "$M/partitions/p2.raw"`},
	{"edits in place", false, `P="$M/partitions/p3.raw"; (yes 'a line of notes' || true) | head -c 1048576 > "$D/notes"; cat "$D/notes" > "$P"; cmp "$D/notes" "$P"
		printf '0000100: 4845 4c4c 4f' | xxd -r - "$P"; [ "$(xxd -s 256 -l 5 -p "$P")" = 48454c4c4f ]
		V=$(command -v vim || command -v vim.tiny || command -v ed); case $V in *ed) printf 's/line/LINE/\nw\nq\n' | ed -s "$P";; *)
			$V -b -u NONE -n -es -c 'set backupcopy=yes nowritebackup' -c '1s/line/LINE/' -c 'wq' "$P" </dev/null;; esac
		[ "$(head -c 6 "$P")" = "a LINE" ]; [ "$(tail -c 11 "$P" | wc -c)" = 11 ]; cmp -i 300:300 -n 1048000 "$D/notes" "$P"`},
	{"> leaves the disk", false, `: > "$M/disk.raw"; [ "$(stat -c %s "$M/disk.raw")" = 100663296 ]; sfdisk -V "$M/disk.raw" >/dev/null`},
	{"fio with several jobs", false, `cd "$D"; fio --name=v --filename="$M/partitions/p2.raw" --allow_file_create=0 --size=6M --offset_increment=6M --numjobs=4 --rw=randwrite --bs=4k-64k \
		--verify=sha256 --verify_state_save=0 --fsync=64 --minimal >/dev/null
		fio --name=d --filename="$M/partitions/p2.raw" --allow_file_create=0 --size=6M --offset_increment=6M --numjobs=4 --rw=randrw --bs=4k-256k --direct=1 --ioengine=libaio --iodepth=8 \
		--verify=crc32c --verify_state_save=0 --minimal >/dev/null`},
	{"snapshot and back", false, `mkdir "$M/snapshots/good"; S=$(sha256sum < "$M/partitions/p1.raw"); dd if=/dev/urandom of="$M/partitions/p1.raw" bs=1M count=2 conv=notrunc status=none
		[ "$(sha256sum < "$M/snapshots/good/partitions/p1.raw")" = "$S" ]; echo 'snapshot -a good' > "$M/ctl"; [ "$(sha256sum < "$M/partitions/p1.raw")" = "$S" ]; rmdir "$M/snapshots/good"`},
	{"cp --sparse", false, `for how in always auto never; do cp --sparse=$how "$M/disk.raw" "$D/copy.raw"; cmp "$M/disk.raw" "$D/copy.raw"; done
		cp --sparse=always --reflink=auto "$D/copy.raw" "$M/disk.raw"; cmp "$M/disk.raw" "$D/copy.raw"; tar -C "$M" -cSf "$D/disk.tar" disk.raw; tar -xOf "$D/disk.tar" disk.raw | cmp - "$M/disk.raw"`},
	{"truncate", false, `truncate -s 120M "$M/disk.raw"; [ "$(stat -c %s "$M/disk.raw")" = 125829120 ]; echo ', +' | sfdisk -q -N 3 --no-reread "$M/disk.raw"
		sfdisk -V "$M/disk.raw" >/dev/null; [ "$(stat -c %s "$M/partitions/p3.raw")" -gt 40000000 ]; sync "$M/disk.raw"`},
}

// A person's session, as root and as a user without rights: after each step stock qemu-img finds the image sound, and in it
// what the mount showed.
func TestSessionWithStandardTools(t *testing.T) {
	need(t, "sfdisk", "mkfs.ext4", "mkfs.vfat", "fsck.ext4", "debugfs", "fuse2fs", "fusermount3", "blkid", "file", "getfattr", "dd", "cmp", "xxd", "rsync", "fio",
		"cp", "tar", "sha256sum", "pgrep", "truncate")
	for _, who := range []string{"root", "nobody"} {
		t.Run(who, func(t *testing.T) {
			var as []string
			if who == "nobody" {
				as = nobody(t)
			} else if os.Geteuid() != 0 {
				t.Skip("not root")
			}
			play(t, as)
		})
	}
}

// play runs the session; as are the words that make another user run a command.
func play(t *testing.T, as []string) {
	needFUSE(t)
	qemu := stock(t, "qemu-img")
	dir, err := os.MkdirTemp("", "session") // t.TempDir lies below a directory that others may not enter
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	image, mnt, copied := filepath.Join(dir, "disk.qcow2"), filepath.Join(dir, "mnt"), filepath.Join(dir, "shown.raw")
	os.Mkdir(mnt, 0o755)
	run(t, qemu, "create", "-q", "-f", "qcow2", image, "96M")
	if len(as) > 0 {
		for _, name := range []string{dir, image, mnt} {
			os.Chown(name, 65534, 65534)
		}
	}
	defer give(mnt)
	user := func(args ...string) {
		t.Helper()
		args = append(append([]string(nil), as...), args...)
		run(t, args[0], args[1:]...)
	}
	begun := time.Now()
	for _, s := range session {
		if s.loop && len(as) > 0 {
			continue
		}
		if s.loop {
			need(t, "losetup")
		}
		user(platter, "mount", image, mnt)
		args := append(append([]string(nil), as...), "bash", "-euo", "pipefail", "-c", s.script)
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "M="+mnt, "D="+dir, "HOME="+dir)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			log, _, _ := try(t, "bash", append([]string{"-c", `"$@"`, "x"}, append(as, "cat", mnt+"/error_log")...)...)
			t.Fatalf("%s: %v\n%s\nerror_log: %s", s.name, err, out, log)
		}
		user("cp", "--sparse=always", filepath.Join(mnt, "disk.raw"), copied)
		user(platter, "unmount", mnt)
		clean(t, image)
		if out, stderr, code := try(t, qemu, "compare", "-f", "qcow2", "-F", "raw", image, copied); code != 0 {
			t.Fatalf("%s: stock finds something else than the mount showed: %s%s", s.name, out, stderr)
		}
		t.Logf("%s: %v", s.name, time.Since(begun).Round(time.Millisecond))
		begun = time.Now()
	}
}

// nobody gives the words that run a command as a user without rights, who may use the FUSE device; only root can.
func nobody(t *testing.T) []string {
	t.Helper()
	need(t, "setpriv", "fusermount3")
	needFUSE(t)
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	if st, err := os.Stat("/dev/fuse"); err != nil || st.Mode().Perm()&0o006 != 0o006 {
		if err := os.Chmod("/dev/fuse", 0o666); err != nil {
			t.Skipf("/dev/fuse is for root alone: %v", err)
		}
		t.Cleanup(func() { os.Chmod("/dev/fuse", st.Mode().Perm()) })
	}
	return []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"}
}
