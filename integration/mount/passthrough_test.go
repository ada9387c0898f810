package mount

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRawReadOnlyIsPassedThrough: the kernel reads a raw image that is mounted read-only by itself, every way of reading
// gives the same bytes, also side by side, and an image that is not the disk byte for byte is not passed through.
func TestRawReadOnlyIsPassedThrough(t *testing.T) {
	need(t, "cmp", "losetup", "blockdev")
	image := rawImage(t, 32<<20)
	sh(t, `dd if=/dev/urandom of=$I bs=1M count=20 conv=notrunc status=none
		printf 'more than the disk' | cat $I - > $I.tail`, "I="+image)
	mnt := mountAt(t, "-o", "ro,format=raw", image)
	disk := filepath.Join(mnt, "disk.raw")
	sh(t, `cmp $I $D`, "I="+image, "D="+disk)
	if n := readBytes(t, mnt); n > 0 && mayPass(t, image) {
		t.Errorf("the daemon was asked for %d bytes", n)
	}
	sh(t, `exec 3<$D
		dd if=$D iflag=direct bs=1M status=none | cmp - $I
		cat <&3 | cmp - $I
		l=$(losetup -r -f --show $D)
		trap 'losetup -d $l' EXIT
		cmp $l $I`, "I="+image, "D="+disk)
	mapped(t, disk, image)
	if out, _, code := try(t, "dd", "if=/dev/zero", "of="+disk, "bs=4k", "count=1", "conv=notrunc"); code == 0 {
		t.Errorf("a disk that is mounted read-only was written: %s", out)
	}
	unmount(t, mnt)

	mnt = mountAt(t, "--image-opts", "-o", "ro", "driver=raw,size=33554432,file.filename="+image+".tail")
	sh(t, `cmp $I $D`, "I="+image, "D="+filepath.Join(mnt, "disk.raw"))
	if n := readBytes(t, mnt); n == 0 {
		t.Error("a file that goes on behind the disk was passed through")
	}
}

// readBytes is how much the daemon has read for others.
func readBytes(t *testing.T, mnt string) int64 {
	t.Helper()
	var figures struct {
		Bytes int64 `json:"read-bytes"`
	}
	text, err := os.ReadFile(filepath.Join(mnt, "stats.json"))
	if err == nil {
		err = json.Unmarshal(text, &figures)
	}
	if err != nil {
		t.Fatal(err)
	}
	return figures.Bytes
}

// mayPass reports whether this kernel and file system can do it (Linux 6.9, no file system on top of another).
func mayPass(t *testing.T, image string) bool {
	t.Helper()
	var u unix.Utsname
	var st unix.Statfs_t
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	if err := unix.Statfs(image, &st); err != nil {
		t.Fatal(err)
	}
	var major, minor int
	for k, part := 0, &major; k < len(u.Release) && u.Release[k] != 0; k++ {
		switch c := u.Release[k]; {
		case c >= '0' && c <= '9':
			*part = *part*10 + int(c-'0')
		case part == &major:
			part = &minor
		default:
			k = len(u.Release)
		}
	}
	plain := st.Type == unix.EXT4_SUPER_MAGIC || st.Type == unix.XFS_SUPER_MAGIC || st.Type == unix.BTRFS_SUPER_MAGIC
	return plain && (major > 6 || major == 6 && minor >= 9)
}

// mapped compares two files through shared mappings.
func mapped(t *testing.T, a, b string) {
	t.Helper()
	var maps [2][]byte
	for k, name := range []string{a, b} {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if maps[k], err = unix.Mmap(int(f.Fd()), 0, 32<<20, unix.PROT_READ, unix.MAP_SHARED); err != nil {
			t.Fatal(err)
		}
		defer unix.Munmap(maps[k])
	}
	if string(maps[0]) != string(maps[1]) {
		t.Errorf("mappings of %s and %s differ", a, b)
	}
}
