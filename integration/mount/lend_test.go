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

// An image that somebody cuts short while it is mounted: large reads of what is gone fail or give zeroes, and say so in
// error_log; the mount lives on.
func TestImageCutShort(t *testing.T) {
	const size = 64 << 20
	image, mnt, disk := mountRaw(t, size)
	sh(t, `dd if=/dev/urandom of=$D bs=1M count=64 conv=notrunc status=none`, "D="+disk)
	if err := os.Truncate(image, size/2); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(disk, os.O_RDONLY|syscall.O_DIRECT, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE) // O_DIRECT wants pages
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(p)
	if _, err := f.ReadAt(p, 1<<20); err != nil {
		t.Errorf("reading what is left: %v", err)
	}
	_, err = f.ReadAt(p, size-1<<20)
	log, e := os.ReadFile(filepath.Join(mnt, "error_log"))
	if e != nil {
		t.Fatal(e)
	}
	switch {
	case errors.Is(err, syscall.EIO):
		if !strings.Contains(string(log), "read at") {
			t.Errorf("the read failed, and error_log has only %q", log)
		}
	case err != nil || strings.Trim(string(p), "\x00") != "":
		t.Errorf("reading what is gone: %v, or not zeroes", err)
	}
	if _, err := f.ReadAt(p, 0); err != nil {
		t.Errorf("reading what is left, afterwards: %v", err)
	}
	if err := os.Truncate(image, size); err != nil { // so that the end of the mount has nothing to say
		t.Fatal(err)
	}
}
