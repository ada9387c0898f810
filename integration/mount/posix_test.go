package mount

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"
	"golang.org/x/sys/unix"
)

// go-fuse's own tests of POSIX semantics, as far as they concern the content of one file: each finds the mounted disk
// under the name of the file that it would make. The others make, link and rename files, set attributes or expect a
// file to end where its last write did, which the files of the tree do not do; FcntlFlockLocksFile expects a process's
// own lock to stop it, which those that the kernel keeps do not.
func TestPosixSemanticsOfTheDisk(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		size int64
	}{
		"DirectIO":            {"file.txt", 3 * 4096},
		"FallocateKeepSize":   {"file", 512},
		"FcntlFlockSetLk":     {"file0", 4096},
		"FdLeak":              {"file", 4096},
		"LseekEnxioCheck":     {"file.bin", 7 * 1024},
		"LseekHoleSeeksToEOF": {"file.bin", 7 * 1024},
		"ParallelFileOpen":    {"file", 4096},
	} {
		for _, format := range []string{"raw", "qcow2"} {
			t.Run(name+"/"+format, func(t *testing.T) {
				image := filepath.Join(t.TempDir(), "image")
				run(t, platter, "create", "-q", "-f", format, image, itoa(int(c.size)))
				mnt := mountAt(t, "-o", "format="+format, image)
				dir, disk := t.TempDir(), filepath.Join(mnt, "disk.raw")
				if err := os.Symlink(disk, filepath.Join(dir, c.file)); err != nil {
					t.Fatal(err)
				}
				if name == "FallocateKeepSize" { // it reads to the end of a file of 100 bytes
					keepSize(t, disk)
					return
				}
				posixtest.All[name](t, dir)
			})
		}
	}
}

// keepSize: space is reserved within the disk, not behind it, and the content stays.
func keepSize(t *testing.T, disk string) {
	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("content"), 100); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 50, 100); err != nil {
		t.Error(err)
	}
	if err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 500, 100); err != unix.EOPNOTSUPP {
		t.Errorf("behind the end: %v", err)
	}
	b := make([]byte, 7)
	if _, err := f.ReadAt(b, 100); err != nil || string(b) != "content" {
		t.Errorf("%q, %v", b, err)
	}
}
