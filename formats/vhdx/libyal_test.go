package vhdx

import (
	"crypto/md5"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestLibvhdi lets libvhdi's vhdimount read a differencing image and its parent, as a second opinion.
func TestLibvhdi(t *testing.T) {
	mount, err := exec.LookPath("vhdimount")
	if err != nil {
		t.Skip("no vhdimount: install libvhdi-utils")
	}
	store, want := family(t, 512)
	n := mustOpenIn(t, store, "child.vhdx", "vhdx", readWrite)
	for i, off := range []int64{512, mib + 1024, 3*mib - 512, 4 * mib} {
		p := []byte(strings.Repeat(string(rune('a'+i)), 70*512))
		if err := n.WriteAt(t.Context(), p, off, 0); err != nil {
			t.Fatal(err)
		}
		copy(want[off:], p)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, base := range []string{"parent.vhdx", "child.vhdx"} {
		if err := os.WriteFile(filepath.Join(dir, base), store.Bytes(base), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := filepath.Join(dir, "mnt")
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(mount, filepath.Join(dir, "child.vhdx"), at)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("vhdimount: %v\n%s", err, out)
	}
	defer exec.Command("fusermount3", "-u", at).Run()
	var got []byte
	for range 50 { // the mount may appear after the command has ended
		files, _ := filepath.Glob(filepath.Join(at, "vhdi*"))
		if len(files) > 0 {
			if got, err = os.ReadFile(files[len(files)-1]); err != nil {
				t.Fatal(err)
			}
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if fmt.Sprintf("%x", md5.Sum(got)) != fmt.Sprintf("%x", md5.Sum(want)) {
		t.Errorf("libvhdi reads something else (%d bytes of %d)", len(got), len(want))
	}
}
