package programs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ReadThrough mounts an image with one of libyal's programs (vhdimount, vmdkmount) and gives the content of the last file
// that it shows: of a chain of images, the top. The test is skipped where the program, or FUSE, is not there, or the
// program was built without it, as Debian 13's.
func ReadThrough(t *testing.T, program, image string) []byte {
	t.Helper()
	mount, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("no %s: install libvhdi-utils and libvmdk-utils", program)
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("no /dev/fuse")
	}
	at, err := os.MkdirTemp("", "platter-libyal-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(at)
	if out, err := exec.Command(mount, image, at).CombinedOutput(); strings.Contains(string(out), "No sub system to mount") {
		t.Skipf("this %s can mount nothing", program)
	} else if err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
	defer exec.Command("fusermount3", "-u", at).Run()
	for range 100 { // the mount may appear after the command has ended
		if files, _ := filepath.Glob(filepath.Join(at, "*")); len(files) > 0 {
			p, err := os.ReadFile(files[len(files)-1])
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s shows nothing of %s", program, image)
	return nil
}
