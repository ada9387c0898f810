package mount

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What was acknowledged before the host's file system was full is in the image after the unmount, although nobody asked
// for a flush: the tables that lead to it have their space.
func TestFullHostKeepsWhatWasAcknowledged(t *testing.T) {
	for _, c := range []struct{ format, options, size string }{
		{"qcow2", "cluster_size=512", "3m"}, {"qcow2", "cluster_size=4k", "3m"}, {"qcow2", "cluster_size=64k", "3m"},
		{"qcow2", "cluster_size=2M", "12m"}, {"qcow2", "lazy_refcounts=on", "3m"}, {"qcow2", "extended_l2=on", "3m"},
		{"qcow2", "compat=0.10", "3m"}, {"qcow", "", "3m"}, {"qed", "", "3m"}, {"vdi", "", "3m"}, {"vmdk", "", "3m"},
		{"vpc", "", "9m"}, {"vhdx", "block_size=1M", "9m"}, {"parallels", "", "3m"}, {"raw", "", "3m"},
	} {
		t.Run(strings.Trim(c.format+","+c.options, ","), func(t *testing.T) {
			dir, full := t.TempDir(), tmpfs(t, c.size)
			image, src := filepath.Join(full, "disk"), filepath.Join(dir, "src")
			args := []string{"create", "-q", "-f", c.format, image, "64M"}
			if c.options != "" {
				args = append(args, "-o", c.options)
			}
			run(t, stock(t, "qemu-img"), args...)
			vars := []string{"S=" + src, "I=" + image, "R=" + filepath.Join(dir, "raw"), "F=" + c.format, "Q=" + stock(t, "qemu-img")}
			sh(t, `head -c 12M /dev/urandom > "$S"`, vars...)
			mnt := mountAt(t, "-o", "format="+c.format, image)
			n := strings.TrimSpace(sh(t, `{ dd if="$S" of="$M/disk.raw" bs=64k conv=notrunc 2>&1 || true; } | sed -n 's/ bytes.*//p'`, append(vars, "M="+mnt)...))
			if n == "0" || n == "12582912" {
				t.Errorf("%s bytes were acknowledged", n)
			}
			unmount(t, mnt)
			sh(t, `"$Q" convert -f "$F" -O raw "$I" "$R"; cmp -n "$N" "$S" "$R"`, append(vars, "N="+n)...)
			if out, _, code := try(t, stock(t, "qemu-img"), "check", "-f", c.format, image); code != 0 && code != 3 && code != 63 {
				t.Errorf("stock check: %s", tail(out))
			}
		})
	}
}

// A commit for which the host's file system has no room fails, and the disk reads as before.
func TestCommitOnAFullHost(t *testing.T) {
	for _, format := range []string{"qcow2", "qcow", "qed", "vmdk"} {
		t.Run(format, func(t *testing.T) {
			dir, full := t.TempDir(), tmpfs(t, "3m")
			top, base := filepath.Join(dir, "top"), filepath.Join(full, "base")
			vars := []string{"D=" + dir, "B=" + base, "F=" + format, "Q=" + stock(t, "qemu-img")}
			sh(t, `cd "$D"; head -c 1M /dev/urandom > first; truncate -s 16M first; "$Q" convert -f raw -O "$F" first "$B"
				"$Q" create -q -f "$F" -b "$B" -F "$F" top 16M`, vars...)
			mnt := mountAt(t, top)
			vars = append(vars, "M="+mnt)
			sh(t, `cd "$D"; head -c 8M /dev/urandom | dd of="$M/disk.raw" bs=1M seek=4 conv=notrunc,fsync status=none; cp "$M/disk.raw" want`, vars...)
			if err := tell(mnt, "commit"); err == nil {
				t.Error("the commit succeeded")
			}
			sh(t, `cd "$D"; cmp want "$M/disk.raw"; printf on > "$D/on"
				for f in want "$M/disk.raw"; do dd if=on of="$f" bs=64k seek=2 conv=notrunc,fsync status=none; done; cmp want "$M/disk.raw"`, vars...)
			unmount(t, mnt)
			sh(t, `cd "$D"; "$Q" convert -f "$F" -O raw top is; cmp want is`, vars...)
		})
	}
}

// A bitmap that mkdir could not store is not there.
func TestNoBitmapOnAFullHost(t *testing.T) {
	full := tmpfs(t, "3m")
	image := filepath.Join(full, "disk.qcow2")
	run(t, stock(t, "qemu-img"), "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", image, "64M")
	mnt := mountAt(t, image)
	sh(t, `{ dd if=/dev/urandom of="$M/disk.raw" bs=64k conv=notrunc 2>&1 || true; } | grep 'No space left'`, "M="+mnt)
	err := os.Mkdir(filepath.Join(mnt, "bitmaps", "b"), 0o755)
	list, e := os.ReadDir(filepath.Join(mnt, "bitmaps"))
	if e != nil || len(list) != 0 && err != nil || len(list) != 1 && err == nil {
		t.Errorf("mkdir: %v, bitmaps has %v, %v", err, list, e)
	}
	give(mnt)
}
