package mount

import (
	"path/filepath"
	"testing"
)

// A person's session with the standard tools on one image; stock checks it at the end.
func TestSessionWithStandardTools(t *testing.T) {
	need(t, "sfdisk", "mkfs.ext4", "losetup", "rsync", "xxd", "dd", "cmp", "blkid", "fio", "tar", "debugfs", "fsck.ext4", "getfattr")
	image := qcow2Image(t, "512M")
	mnt := mountAt(t, image)
	dir := t.TempDir()
	env := []string{"M=" + mnt, "D=" + dir}
	steps := []string{
		`printf 'label: gpt\nsize=200M,name=root\nsize=100M,name=data\n' | sfdisk -q "$M/disk.raw"`,
		`mkfs.ext4 -q -L rootfs "$M/partitions/p1.raw"; blkid -p "$M/partitions/p1.raw" | grep -q 'LABEL="rootfs"'`,
		`[ "$(readlink "$M/partitions/by-label/rootfs")" = ../p1.raw ]`,
		`mkdir "$D/fs"; L=$(losetup -f --show "$M/partitions/p1.raw"); trap 'umount "$D/fs" 2>/dev/null || true; losetup -d $L' EXIT
		 mount "$L" "$D/fs"; tar -C / -cf - etc | tar -C "$D/fs" -xf -; diff -r --no-dereference /etc "$D/fs/etc"; cp /etc/passwd "$D/fs/"; umount "$D/fs"; fsck.ext4 -fn "$L"`,
		`debugfs -R 'cat passwd' "$M/partitions/by-partlabel/root" 2>/dev/null | cmp - /etc/passwd`,
		`mkdir "$M/snapshots/installed"; debugfs -R 'cat passwd' "$M/snapshots/installed/partitions/p1.raw" 2>/dev/null | cmp - /etc/passwd`,
		`dd if=/dev/urandom of="$M/partitions/p2.raw" bs=1M count=20 conv=notrunc,fsync status=none`,
		`dd if="$M/partitions/p2.raw" bs=64k iflag=direct count=320 status=none | cmp -n 20971520 - "$M/partitions/p2.raw"`,
		`cp "$M/partitions/p2.raw" "$D/p2"; printf change | dd of="$D/p2" bs=1 seek=5000 conv=notrunc status=none
		 rsync --ignore-times --inplace --no-whole-file "$D/p2" "$M/partitions/p2.raw"; cmp "$D/p2" "$M/partitions/p2.raw"`,
		`printf 'word' | dd of="$M/disk.raw" bs=1 seek=400000000 conv=notrunc status=none; xxd -s 400000000 -l 4 "$M/disk.raw" | grep -q word`,
		`: > "$M/disk.raw"; [ $(stat -c %s "$M/disk.raw") = 536870912 ]`,
		`fio --name=v --filename="$M/disk.raw" --allow_file_create=0 --offset=330M --size=50M --rw=randwrite --bs=4k-64k --verify=sha256 --numjobs=1 --minimal >/dev/null`,
		`truncate -s 600M "$M/disk.raw"; [ $(stat -c %s "$M/disk.raw") = 629145600 ]; sfdisk -q --relocate gpt-bak-std "$M/disk.raw" 2>/dev/null || true`,
		`[ "$(getfattr --only-values -n user.platter.format "$M/disk.raw")" = qcow2 ]; cp --sparse=always "$M/disk.raw" "$D/copy.raw"; cmp "$M/disk.raw" "$D/copy.raw"`,
		`fsck.ext4 -fn "$M/partitions/p1.raw"; sync "$M/disk.raw"`,
	}
	for _, s := range steps {
		sh(t, s, env...)
	}
	unmount(t, mnt)
	clean(t, image)
	qemu := stock(t, "qemu-img")
	raw := filepath.Join(dir, "stock.raw")
	run(t, qemu, "convert", "-O", "raw", image, raw)
	run(t, "cmp", raw, filepath.Join(dir, "copy.raw"))
}
