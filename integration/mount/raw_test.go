package mount

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// rawImage makes a sparse raw image.
func rawImage(t *testing.T, size int64) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk.raw")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, size); err != nil {
		t.Fatal(err)
	}
	return name
}

func mountRaw(t *testing.T, size int64, args ...string) (image, mnt, disk string) {
	t.Helper()
	needFUSE(t)
	image = rawImage(t, size)
	mnt = mountAt(t, append([]string{"-o", "format=raw"}, append(args, image)...)...)
	return image, mnt, filepath.Join(mnt, "disk.raw")
}

// Parallel writers of every kind (cached, O_DIRECT, write-only, mmap) leave what a shadow in memory says.
func TestParallelWritersAgreeWithShadow(t *testing.T) {
	const size, part = 16 << 20, 4 << 20
	image, mnt, disk := mountRaw(t, size)
	shadow := make([]byte, size)
	var wg sync.WaitGroup
	for i, mode := range []int{os.O_RDWR, os.O_WRONLY, os.O_RDWR | unix.O_DIRECT, os.O_RDWR} {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if i == 3 {
				mapWrites(t, disk, shadow, 3*part, part)
				return
			}
			writes(t, disk, mode, shadow, int64(i)*part, part)
		}()
	}
	wg.Wait()
	got, err := os.ReadFile(disk)
	if err != nil || !bytes.Equal(got, shadow) {
		t.Errorf("the mounted disk differs from the shadow (%v)", err)
	}
	unmount(t, mnt)
	if got, err = os.ReadFile(image); err != nil || !bytes.Equal(got, shadow) {
		t.Errorf("the image differs from the shadow (%v)", err)
	}
}

// writes writes, zeroes and punches at random in [base, base+n), and does the same to the shadow.
func writes(t *testing.T, disk string, mode int, shadow []byte, base, n int64) {
	f, err := os.OpenFile(disk, mode, 0)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	rng := rand.New(rand.NewPCG(uint64(base), 1))
	unit := int64(1)
	buf, _ := unix.Mmap(-1, 0, 512<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if mode&unix.O_DIRECT != 0 {
		unit = 512
	}
	for range 200 {
		length := min(1+rng.Int64N(int64(len(buf))-1), n)
		off := base + rng.Int64N(n-length+1)
		off, length = off/unit*unit, max(length/unit*unit, unit)
		p := buf[:length]
		var err error
		switch rng.IntN(6) {
		case 0:
			clear(p)
			err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, length)
		case 1:
			clear(p)
			err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_ZERO_RANGE|unix.FALLOC_FL_KEEP_SIZE, off, length)
		default:
			for i := range p {
				p[i] = byte(rng.Uint32())
			}
			_, err = f.WriteAt(p, off)
		}
		if err != nil {
			t.Errorf("at %d, %d bytes: %v", off, length, err)
			return
		}
		copy(shadow[off:], p)
	}
	if err := f.Sync(); err != nil {
		t.Error(err)
	}
}

func mapWrites(t *testing.T, disk string, shadow []byte, base, n int64) {
	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	m, err := unix.Mmap(int(f.Fd()), base, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Error(err)
		return
	}
	for i := range m {
		m[i] = byte(i * 7)
		shadow[base+int64(i)] = m[i]
	}
	if err := unix.Msync(m, unix.MS_SYNC); err != nil {
		t.Error(err)
	}
	unix.Munmap(m)
}

func TestTruncateRules(t *testing.T) {
	image, mnt, disk := mountRaw(t, 8<<20)
	os.WriteFile(disk, []byte("start"), 0) // O_TRUNC: must not wipe
	if st, _ := os.Stat(disk); st.Size() != 8<<20 {
		t.Errorf("size %d after O_TRUNC", st.Size())
	}
	for size, want := range map[int64]error{4 << 20: syscall.EPERM, 9<<20 + 1: syscall.EINVAL, 0: nil, 16 << 20: nil} {
		if err := os.Truncate(disk, size); !errors.Is(err, want) {
			t.Errorf("truncate to %d: %v, want %v", size, err, want)
		}
	}
	if b, _ := os.ReadFile(filepath.Join(mnt, "error_log")); !strings.Contains(string(b), "shrink") {
		t.Errorf("error_log %q has no word of shrinking", b)
	}
	f, _ := os.OpenFile(disk, os.O_RDWR, 0)
	if _, err := f.WriteAt([]byte("x"), 16<<20); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("write past the end: %v", err)
	}
	if n, err := f.WriteAt([]byte("end"), 16<<20-3); err != nil {
		t.Errorf("write at the end: %d %v", n, err)
	}
	f.Close()
	unmount(t, mnt)
	if st, err := os.Stat(image); err != nil || st.Size() != 16<<20 {
		t.Errorf("the image has %d bytes: %v", st.Size(), err)
	}
	mnt = mountAt(t, "-o", "format=raw,shrink", image)
	if err := os.Truncate(filepath.Join(mnt, "disk.raw"), 1<<20); err != nil {
		t.Errorf("shrinking where the mount allows it: %v", err)
	}
}

func TestHolesAndBlocks(t *testing.T) {
	_, _, disk := mountRaw(t, 64<<20)
	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(bytes.Repeat([]byte{7}, 1<<20), 8<<20); err != nil {
		t.Fatal(err)
	}
	seek := func(off int64, whence int, want int64, errno error) {
		t.Helper()
		got, err := unix.Seek(int(f.Fd()), off, whence)
		if err != errno && !(err == nil && errno == nil) || err == nil && got != want {
			t.Errorf("seek %d whence %d: %d %v, want %d %v", off, whence, got, err, want, errno)
		}
	}
	seek(0, unix.SEEK_DATA, 8<<20, nil)
	seek(8<<20, unix.SEEK_HOLE, 9<<20, nil)
	seek(9<<20, unix.SEEK_DATA, 0, syscall.ENXIO)
	seek(9<<20, unix.SEEK_HOLE, 9<<20, nil)
	seek(64<<20, unix.SEEK_HOLE, 0, syscall.ENXIO)
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st); st.Blocks != 2048 || st.Blksize < 4096 {
		t.Errorf("st_blocks %d, st_blksize %d", st.Blocks, st.Blksize)
	}
	if err := unix.Fallocate(int(f.Fd()), 0, 0, 4096); err != nil {
		t.Errorf("plain fallocate: %v", err)
	}
	if unix.Fstat(int(f.Fd()), &st); st.Blocks != 2048+8 {
		t.Errorf("st_blocks after plain fallocate: %d", st.Blocks)
	}
	var fs unix.Statfs_t
	if unix.Statfs(disk, &fs); fs.Bsize != 4096 {
		t.Errorf("f_bsize %d", fs.Bsize)
	}
}

func TestReadOnlyMount(t *testing.T) {
	image, mnt, disk := mountRaw(t, 1<<20, "-r")
	before := sum(t, image)
	for _, mode := range []int{os.O_RDWR, os.O_WRONLY} {
		if f, err := os.OpenFile(disk, mode, 0); !errors.Is(err, syscall.EROFS) {
			f.Close()
			t.Errorf("opened for writing: %v", err)
		}
	}
	if err := os.Truncate(disk, 2<<20); !errors.Is(err, syscall.EROFS) {
		t.Errorf("truncate: %v", err)
	}
	if err := os.Remove(disk); err == nil {
		t.Error("disk.raw was removed")
	}
	unmount(t, mnt)
	if sum(t, image) != before {
		t.Error("the image changed")
	}
}

// What ends a mount leaves the image complete: SIGTERM, SIGINT, umount, fusermount3 -u, a lazy unmount in use.
func TestWaysToEnd(t *testing.T) {
	for _, way := range []string{"unmount", "umount", "fusermount3", "SIGTERM", "SIGINT", "SIGTERM in use", "lazy"} {
		t.Run(way, func(t *testing.T) {
			image, mnt, disk := mountRaw(t, 4<<20)
			f, err := os.OpenFile(disk, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt([]byte(way), 1<<20); err != nil {
				t.Fatal(err)
			}
			daemon := pid(t, mnt)
			if way != "SIGTERM in use" && way != "lazy" {
				f.Close()
			}
			end(t, way, mnt, daemon)
			if way == "lazy" {
				f.WriteAt([]byte("after"), 2<<20)
				f.Close()
			}
			waitGone(t, daemon)
			f.Close()
			b, _ := os.ReadFile(image)
			if len(b) != 4<<20 || string(b[1<<20:1<<20+len(way)]) != way {
				t.Error("what was written is not in the image")
			}
			if way == "lazy" && string(b[2<<20:2<<20+5]) != "after" {
				t.Error("what was written after the lazy unmount is not in the image")
			}
		})
	}
}

func end(t *testing.T, way, mnt string, daemon int) {
	t.Helper()
	switch way {
	case "unmount":
		unmount(t, mnt)
	case "umount":
		run(t, "umount", mnt)
	case "fusermount3":
		need(t, "fusermount3")
		run(t, "fusermount3", "-u", mnt)
	case "lazy":
		need(t, "fusermount3")
		run(t, "fusermount3", "-uz", mnt)
	case "SIGINT":
		syscall.Kill(daemon, syscall.SIGINT)
	default:
		syscall.Kill(daemon, syscall.SIGTERM)
	}
}

// waitGone waits for the end of a process that is not our child: of all its threads, since the last one closes the files.
func waitGone(t *testing.T, pid int) {
	t.Helper()
	for range 500 {
		b, err := os.ReadFile("/proc/" + itoa(pid) + "/stat")
		threads, _ := os.ReadDir("/proc/" + itoa(pid) + "/task")
		if err != nil || len(threads) <= 1 && strings.Contains(string(b), ") Z ") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %d is still there", pid)
}

func TestUnmountOfABusyTree(t *testing.T) {
	_, mnt, disk := mountRaw(t, 1<<20)
	f, _ := os.Open(disk)
	_, stderr, code := try(t, platter, "unmount", mnt)
	if code != 1 || !strings.Contains(stderr, "busy") {
		t.Errorf("exit status %d, %q", code, stderr)
	}
	f.Close()
	unmount(t, mnt)
}

func TestRefusals(t *testing.T) {
	needFUSE(t)
	image, dir := rawImage(t, 1<<20), t.TempDir()
	full, link := filepath.Join(dir, "full"), filepath.Join(dir, "link")
	os.MkdirAll(filepath.Join(full, "x"), 0o755)
	os.Symlink(full, link)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{image, filepath.Join(dir, "nowhere")}, "No such file or directory"},
		{[]string{image, full}, "not empty"},
		{[]string{image, link}, "symbolic link"},
		{[]string{image, image}, "Not a directory"},
		{[]string{"-o", "nonempty", image, filepath.Dir(image)}, "contains"},
		{[]string{filepath.Join(dir, "none"), full}, "Could not open"},
		{[]string{"-o", "nonsense", image, full}, "nonsense"},
		{[]string{image}, "Expecting"},
	} {
		_, stderr, code := try(t, platter, append([]string{"mount", "-o", "format=raw"}, c.args...)...)
		if code != 1 || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: exit status %d, %q, want %q", c.args, code, stderr, c.want)
		}
	}
}

func TestStaleMountIsRecovered(t *testing.T) {
	image, mnt, disk := mountRaw(t, 1<<20)
	syscall.Kill(pid(t, mnt), syscall.SIGKILL)
	for range 100 {
		if _, err := os.Stat(disk); errors.Is(err, syscall.ENOTCONN) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	run(t, platter, "mount", "-o", "format=raw", image, mnt)
	if _, err := os.Stat(disk); err != nil {
		t.Error(err)
	}
	unmount(t, mnt)
}

func TestForegroundStopsOnSignal(t *testing.T) {
	needFUSE(t)
	image, mnt := rawImage(t, 1<<20), t.TempDir()
	cmd := exec.Command(platter, "mount", "-f", "-o", "format=raw", image, mnt)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for range 200 {
		if _, err := os.Stat(filepath.Join(mnt, "disk.raw")); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	cmd.Process.Signal(syscall.SIGINT)
	if err := cmd.Wait(); err != nil {
		t.Errorf("SIGINT: %v, want exit status 0", err)
	}
}
