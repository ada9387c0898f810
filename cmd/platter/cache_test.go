package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// traced runs the program under strace and gives the system calls that it made on files.
func traced(t *testing.T, dir string, args ...string) string {
	t.Helper()
	log := filepath.Join(t.TempDir(), "calls")
	c := command(dir, args...)
	words := append([]string{"-f", "-y", "-e", "trace=openat,fdatasync,fsync,copy_file_range,io_submit,io_uring_enter", "-o", log}, c.Args...)
	strace := exec.Command("strace", words...)
	strace.Env, strace.Dir = c.Env, dir
	if out, err := strace.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// needStrace skips where processes cannot be traced.
func needStrace(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("strace", "-f", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("strace does not work here: %v %s", err, out)
	}
}

// directDir is a folder for files that can be opened with O_DIRECT.
func directDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	f, err := os.OpenFile(filepath.Join(dir, "probe"), os.O_CREATE|os.O_RDWR|syscall.O_DIRECT, 0o644)
	if err != nil {
		t.Skipf("the file system of %s has no O_DIRECT: %v", dir, err)
	}
	f.Close()
	return dir
}

// TestCacheModesReachTheKernel looks at how convert opens its files, and how often it flushes, in each mode.
func TestCacheModesReachTheKernel(t *testing.T) {
	needStrace(t)
	dir := directDir(t)
	if err := os.WriteFile(filepath.Join(dir, "source.raw"), []byte(strings.Repeat("platter.", 1<<20)), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		mode        string
		direct      bool
		least, most int // flushes of the target; the modes that write through flush after each of 4 writes at least
	}{
		{"none", true, 1, 3}, {"writeback", false, 1, 3}, {"unsafe", false, 0, 0},
		{"writethrough", false, 4, 99}, {"directsync", true, 4, 99},
	} {
		mustRun(t, dir, "create", "-q", "-f", "raw", "out.raw", "8M")
		calls := traced(t, dir, "convert", "-n", "-f", "raw", "-O", "raw", "-t", c.mode, "-T", c.mode, "source.raw", "out.raw")
		for name, access := range map[string]string{"source.raw": "O_RDONLY", "out.raw": "O_RDWR"} {
			opens := regexp.MustCompile(`openat\(.*`+name+`", `+access+`.*`).FindAllString(calls, -1)
			if len(opens) == 0 {
				t.Fatalf("%s: %s is not opened with %s:\n%s", c.mode, name, access, calls)
			}
			for _, o := range opens {
				if strings.Contains(o, "O_DIRECT|") != c.direct && strings.Contains(o, "O_DIRECT") != c.direct {
					t.Errorf("%s: %s", c.mode, o)
				}
			}
		}
		n := len(regexp.MustCompile(`(fdatasync|fsync)\(\d+<.*out\.raw`).FindAllString(calls, -1))
		if n < c.least || n > c.most {
			t.Errorf("%s: the target is flushed %d times, want %d to %d", c.mode, n, c.least, c.most)
		}
	}
}

// TestOffloadingReachesTheKernel: -C has the kernel copy where data lies as it is read, and without -C nothing is.
func TestOffloadingReachesTheKernel(t *testing.T) {
	needStrace(t)
	dir := slowDir(t)
	mustRun(t, dir, "create", "-q", "-f", "qcow2", "disk.qcow2", "8M")
	mustRun(t, dir, "convert", "-q", "-n", "-f", "raw", "-O", "qcow2", "source.raw", "disk.qcow2")
	for _, c := range []struct {
		from, to, option string
		offloads         bool
	}{
		{"raw", "raw", "-C", true}, {"raw", "qcow2", "-C", true}, {"qcow2", "raw", "-C", true}, {"qcow2", "qcow2", "-C", true},
		{"raw", "raw", "-q", false}, {"qcow2", "qcow2", "-q", false},
	} {
		name := map[string]string{"raw": "source.raw", "qcow2": "disk.qcow2"}[c.from]
		calls := traced(t, dir, "convert", c.option, "-f", c.from, "-O", c.to, name, "out")
		if got := strings.Contains(calls, "copy_file_range("); got != c.offloads {
			t.Errorf("%s of %s to %s: copy_file_range is called: %t", c.option, c.from, c.to, got)
		}
		mustRun(t, dir, "compare", "-q", "-f", c.to, "-F", "raw", "out", "source.raw")
	}
}

// TestRatesHold: what is limited takes at least as long as the limit says. That it takes longer is no failure.
func TestRatesHold(t *testing.T) {
	dir := slowDir(t)
	for _, args := range []string{
		"convert -r 16M -f raw -O qcow2 source.raw out.qcow2", "convert -r 16M -W -m 4 -f raw -O raw source.raw out.raw",
		"commit -r 16M -f qcow2 top.qcow2",
	} {
		took := elapsed(func() { mustRun(t, dir, strings.Fields(args)...) })
		// The last of the pieces of 2 MiB starts when 6 MiB are paid for, but for a burst of a tenth of a second.
		if least := 0.375 - 0.1; took < least {
			t.Errorf("%s took %.3f s, want %.3f at least", args, took, least)
		}
	}
	if got, want := fmt.Sprintf("%x", sum(t, filepath.Join(dir, "base.raw"))), fmt.Sprintf("%x", sum(t, filepath.Join(dir, "source.raw"))); got != want {
		t.Error("commit has not copied all")
	}
}

// TestBenchGoesTheAskedWay: -i chooses how the kernel is asked.
func TestBenchGoesTheAskedWay(t *testing.T) {
	needStrace(t)
	dir := directDir(t)
	if err := os.WriteFile(filepath.Join(dir, "disk"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	modes := map[string]string{"threads": "", "native": "io_submit(", "io_uring": "io_uring_enter("}
	var params [120]byte
	if fd, _, e := syscall.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)), 0); e != 0 {
		t.Logf("io_uring is refused here: %v", e)
		delete(modes, "io_uring")
	} else {
		syscall.Close(int(fd))
	}
	for mode, want := range modes {
		calls := traced(t, dir, "bench", "-f", "raw", "-t", "none", "-c", "64", "-d", "8", "-i", mode, "disk")
		for _, call := range []string{"io_submit(", "io_uring_enter("} {
			if n := strings.Count(calls, call); (n > 0) != (call == want) {
				t.Errorf("-i %s: %d calls of %s)", mode, n, call)
			}
		}
	}
}
