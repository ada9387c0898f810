package mount

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// bitmapNames are the bitmaps of bitmapImage: granularities from a sector to several clusters, and one that does not record.
var bitmapNames = []string{"sector", "page", "cluster", "large", "off"}

// bitmapImage makes an image with a bitmap of each kind.
func bitmapImage(t *testing.T, opts string) string {
	t.Helper()
	image := qcow2Image(t, "64M", "-o", opts)
	qemu := stock(t, "qemu-img")
	for k, args := range [][]string{{"-g", "512"}, {"-g", "4k"}, nil, {"-g", "2M"}, {"--disable"}} {
		run(t, qemu, append(append([]string{"bitmap", "--add"}, args...), image, bitmapNames[k])...)
	}
	return image
}

// change writes, zeroes and punches at fixed pseudo-random places of a file; zeroes in whole units, because QEMU's export
// refuses others.
func change(t *testing.T, name string, seed uint64, unit int64) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 60 {
		off, n := rng.Int64N(60<<11)*512, 512*(1+rng.Int64N(1<<rng.IntN(11)))
		verb := rng.IntN(4)
		if verb < 2 {
			off, n = off/unit*unit, (n+unit-1)/unit*unit
		}
		switch verb {
		case 0:
			err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
		case 1:
			err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_ZERO_RANGE|unix.FALLOC_FL_KEEP_SIZE, off, n)
		default:
			_, err = f.WriteAt(bytes.Repeat([]byte{byte(1 + rng.IntN(255))}, int(n)), off)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

// daemonExport has stock qemu-storage-daemon show an image as a file, until stop is called.
func daemonExport(t *testing.T, image string) (file string, stop func()) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(stock(t, "qemu-storage-daemon"), "--blockdev", "driver=file,node-name=f,discard=unmap,filename="+image,
		"--blockdev", "driver=qcow2,node-name=q,file=f,discard=unmap",
		"--export", "type=fuse,id=e,node-name=q,writable=on,mountpoint="+file)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the export of "+image, func() bool {
		fi, err := os.Stat(file)
		return err == nil && fi.Size() > 0
	})
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("qemu-storage-daemon: %v\n%s", err, &said)
		}
	}
	t.Cleanup(stop)
	return file, stop
}

// recorded reads what the bitmaps of an image hold.
func recorded(t *testing.T, image string) map[string]string {
	t.Helper()
	mnt := mountAt(t, "-r", image)
	defer unmount(t, mnt)
	all := map[string]string{}
	for _, name := range bitmapNames {
		b, err := os.ReadFile(filepath.Join(mnt, "bitmaps", name, "extents.json"))
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(b)
	}
	return all
}

// What bitmaps record of changes through the mount is what they record through QEMU's own FUSE export, extent by extent,
// and merging by either program gives the same bits.
func TestBitmapsRecordAsQEMU(t *testing.T) {
	needFUSE(t)
	for k, c := range []struct {
		opts string
		unit int64
	}{{"cluster_size=64k", 64 << 10}, {"cluster_size=512", 512}, {"extended_l2=on", 64 << 10}, {"cluster_size=2M", 2 << 20}} {
		opts := c.opts
		t.Run(opts, func(t *testing.T) {
			theirs := bitmapImage(t, opts)
			b, err := os.ReadFile(theirs)
			if err != nil {
				t.Fatal(err)
			}
			ours := filepath.Join(t.TempDir(), "disk.qcow2")
			if err := os.WriteFile(ours, b, 0o600); err != nil {
				t.Fatal(err)
			}
			file, stop := daemonExport(t, theirs)
			change(t, file, uint64(k), c.unit)
			stop()
			mnt := mountAt(t, "-o", "rw", ours)
			change(t, filepath.Join(mnt, "disk.raw"), uint64(k), c.unit)
			unmount(t, mnt)
			clean(t, ours)
			have, want := recorded(t, ours), recorded(t, theirs)
			for _, name := range bitmapNames {
				if have[name] != want[name] {
					t.Errorf("bitmap %s: %s\nQEMU's: %s", name, tail(have[name]), tail(want[name]))
				}
			}
			if !strings.Contains(have["sector"], "{") || strings.Contains(have["off"], "true") {
				t.Errorf("nothing to compare: %s %s", tail(have["sector"]), tail(have["off"]))
			}
			// Merged across images, into the bitmap that was off: ours by stock, stock's by ours.
			run(t, stock(t, "qemu-img"), "bitmap", "--merge", "page", "-b", theirs, "-F", "qcow2", ours, "off")
			run(t, platter, "bitmap", "--merge", "page", "-b", ours, "-F", "qcow2", theirs, "off")
			have, want = recorded(t, ours), recorded(t, theirs)
			if have["off"] != want["off"] {
				t.Errorf("merged: %s\nand the other way: %s", tail(have["off"]), tail(want["off"]))
			}
		})
	}
}

// A mount that is killed leaves the bitmaps that record marked as inconsistent, never as right.
func TestKilledMountLeavesBitmapsInconsistent(t *testing.T) {
	needFUSE(t)
	image := bitmapImage(t, "cluster_size=64k")
	mnt := mountAt(t, "-o", "rw", image)
	change(t, filepath.Join(mnt, "disk.raw"), 9, 512)
	syscall.Kill(pid(t, mnt), syscall.SIGKILL)
	waitFor(t, "the end of the mount", func() bool {
		exec.Command(platter, "unmount", "-l", mnt).Run()
		_, err := os.Stat(filepath.Join(mnt, "disk.raw"))
		return err != nil
	})
	var info struct {
		Specific struct {
			Data struct {
				Bitmaps []struct {
					Name  string
					Flags []string
				}
			}
		} `json:"format-specific"`
	}
	if err := json.Unmarshal([]byte(run(t, stock(t, "qemu-img"), "info", "--output=json", image)), &info); err != nil {
		t.Fatal(err)
	}
	if len(info.Specific.Data.Bitmaps) != len(bitmapNames) {
		t.Fatalf("%+v", info)
	}
	for _, b := range info.Specific.Data.Bitmaps {
		if b.Name != "off" && !strings.Contains(strings.Join(b.Flags, " "), "in-use") {
			t.Errorf("bitmap %s is not marked: %v", b.Name, b.Flags)
		}
	}
}

// Bitmaps whose names are too long for files are all there, under names that differ and are text.
func TestLongNamesOfBitmaps(t *testing.T) {
	image := qcow2Image(t, "1M")
	end := strings.Repeat("é", 140)
	for _, name := range []string{end + "1" + end, end + "2" + end} {
		run(t, stock(t, "qemu-img"), "bitmap", "--add", image, name)
	}
	mnt := mountAt(t, image)
	entries, err := os.ReadDir(filepath.Join(mnt, "bitmaps"))
	if err != nil || len(entries) != 2 || entries[0].Name() == entries[1].Name() {
		t.Fatalf("%v, %v", entries, err)
	}
	for _, e := range entries {
		if !utf8.ValidString(e.Name()) {
			t.Errorf("%q is no text", e.Name())
		}
	}
	if err := os.Remove(filepath.Join(mnt, "bitmaps", entries[0].Name())); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(filepath.Join(mnt, "bitmaps")); len(left) != 1 {
		t.Errorf("%v are left", left)
	}
	unmount(t, mnt)
	clean(t, image)
}
