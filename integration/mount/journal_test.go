package mount

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// rounds is how often something is repeated: few, and all with PLATTER_LONG.
func rounds(few, all int) int {
	if os.Getenv("PLATTER_LONG") != "" {
		return all
	}
	return few
}

// A snapshot of a journalled file system on which four processes write needs nothing but the replay of its journal: it
// mounts, and is sound afterwards. The image is sound with all the snapshots in it.
func TestSnapshotsOfAFileSystemInUse(t *testing.T) {
	need(t, "losetup", "mkfs.ext4", "e2fsck", "fio", "mount", "cp")
	image := qcow2Image(t, "80M")
	mnt := mountAt(t, image)
	dir := t.TempDir()
	env := []string{"M=" + mnt, "D=" + dir}
	sh(t, `mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 "$M/disk.raw"; mkdir "$D/fs" "$D/copy"
		L=$(losetup -f --show "$M/disk.raw"); echo $L > "$D/loop"; mount "$L" "$D/fs"`, env...)
	t.Cleanup(func() {
		try(t, "bash", "-c", `umount "$0/fs" "$0/copy" 2>/dev/null; losetup -d $(cat "$0/loop") 2>/dev/null`, dir)
	})
	writer := shell(t, `for k in 1 2 3 4; do
			( n=0; while [ ! -e "$D/stop" ]; do n=$((n+1)); d="$D/fs/w$k/$((n%7))"; mkdir -p "$d"; seq $((n*50)) > "$d/f$((n%13))"
				mv "$d/f$((n%13))" "$d/g$((n%5))"; [ $((n%3)) -gt 0 ] || sync "$d/g$((n%5))"; [ $((n%11)) -gt 0 ] || rm -rf "$d"; done ) &
		done; wait`, env...)
	for round := range rounds(6, 50) {
		time.Sleep(50 * time.Millisecond)
		snapshot := filepath.Join(mnt, "snapshots", "x"+itoa(round))
		if err := os.Mkdir(snapshot, 0o755); err != nil {
			t.Errorf("%v; %s", err, errorLog(t, mnt))
			break
		}
		out := sh(t, `cp --sparse=always "$S/disk.raw" "$D/one"; cp --sparse=always "$D/one" "$D/two"
			e2fsck -fy -E journal_only "$D/one" >/dev/null || [ $? -le 1 ]
			mount -o loop "$D/two" "$D/copy"; [ -d "$D/copy/lost+found" ]; ls -R "$D/copy" >/dev/null; umount "$D/copy"
			e2fsck -fn "$D/two" 2>&1 || echo BROKEN`, append(env, "S="+snapshot)...)
		if len(out) > 7 && out[len(out)-7:] == "BROKEN\n" {
			t.Errorf("round %d: %s", round, out)
		}
		if round%4 == 3 {
			if err := os.Remove(filepath.Join(mnt, "snapshots", "x"+itoa(round-2))); err != nil {
				t.Errorf("%v; %s", err, errorLog(t, mnt))
			}
		}
	}
	sh(t, `touch "$D/stop"`, env...)
	if err := writer.Wait(); err != nil {
		t.Errorf("the writers: %v", err)
	}
	sh(t, `umount "$D/fs"; e2fsck -fn "$(cat "$D/loop")" >/dev/null 2>&1; losetup -d "$(cat "$D/loop")"`, env...)
	for range 100 { // the kernel takes a loop device down on its own time
		if _, _, code := try(t, platter, "unmount", mnt); code == 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	clean(t, image)
}
