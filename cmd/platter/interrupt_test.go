package main

import (
	"bytes"
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// command is the program itself as another process, under the name of qemu-img.
func command(dir string, args ...string) *exec.Cmd {
	c := exec.Command(os.Args[0], args...)
	c.Env = append(os.Environ(), "PLATTER_TEST_ARGV0=qemu-img")
	c.Dir = dir
	return c
}

func mustRun(t *testing.T, dir string, args ...string) {
	t.Helper()
	if out, err := command(dir, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// slow names an image through a filter that lets so little pass that a verb is surely at work when the signal comes.
func slow(format, name string) string {
	return "driver=throttle,throttle-group=slow,file.driver=" + format + ",file.file.filename=" + name
}

const slowly = "throttle-group,id=slow,x-bps-total=200000"

// slowDir has an image, raw and as an overlay that holds the same, of 8 MiB.
func slowDir(t *testing.T) string {
	dir := t.TempDir()
	data := bytes.Repeat([]byte("platter."), 1<<20)
	if err := os.WriteFile(filepath.Join(dir, "source.raw"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	mustRun(t, dir, "create", "-q", "-f", "raw", "base.raw", "8M")
	mustRun(t, dir, "convert", "-q", "-f", "raw", "-O", "qcow2", "-B", "base.raw", "-F", "raw", "source.raw", "top.qcow2")
	mustRun(t, dir, "create", "-q", "-f", "raw", "same.raw", "8M")
	return dir
}

// hold starts a command that waits for its throttle, and gives it time to get there.
func hold(t *testing.T, c *exec.Cmd) *bytes.Buffer {
	t.Helper()
	var stderr bytes.Buffer
	c.Stderr = &stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill() })
	opened := func() bool { // the images are open, so the signals are being waited for
		links, _ := filepath.Glob("/proc/" + strconv.Itoa(c.Process.Pid) + "/fd/*")
		for _, l := range links {
			if to, _ := os.Readlink(l); strings.HasPrefix(to, c.Dir) {
				return true
			}
		}
		return false
	}
	for end := time.Now().Add(20 * time.Second); !opened(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%v has opened nothing: %s", c.Args[1:], &stderr)
		}
	}
	time.Sleep(100 * time.Millisecond)
	return &stderr
}

func sum(t *testing.T, name string) [32]byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(b)
}

func TestASignalStopsAVerb(t *testing.T) {
	dir := slowDir(t)
	for name, c := range map[string]struct {
		sig    syscall.Signal
		code   int
		target string // must pass check afterwards
		args   []string
	}{
		"convert":    {syscall.SIGINT, 1, "out.qcow2", []string{"convert", "--image-opts", "-O", "qcow2", slow("raw", "source.raw"), "out.qcow2"}},
		"convert -p": {syscall.SIGTERM, 1, "p.qcow2", []string{"convert", "-p", "--image-opts", "-O", "qcow2", slow("raw", "source.raw"), "p.qcow2"}},
		"convert -c": {syscall.SIGHUP, 1, "c.qcow2", []string{"convert", "-c", "--image-opts", "-O", "qcow2", slow("raw", "source.raw"), "c.qcow2"}},
		"commit":     {syscall.SIGTERM, 1, "top.qcow2", []string{"commit", "--image-opts", slow("qcow2", "top.qcow2")}},
		"rebase": {syscall.SIGINT, 1, "top.qcow2", []string{"rebase", "-b", "", "--image-opts",
			"driver=qcow2,file.driver=throttle,file.throttle-group=slow,file.file.filename=top.qcow2"}},
		"compare": {syscall.SIGINT, 4, "", []string{"compare", "--image-opts", slow("raw", "source.raw"), "driver=raw,file.filename=source.raw"}},
		"dd":      {syscall.SIGTERM, 1, "", []string{"dd", "--image-opts", "bs=64k", "if=" + slow("raw", "source.raw"), "of=out.raw"}},
	} {
		t.Run(name, func(t *testing.T) {
			before := sum(t, filepath.Join(dir, "source.raw"))
			cmd := command(dir, append(c.args[:1:1], append([]string{"--object", slowly}, c.args[1:]...)...)...)
			stderr := hold(t, cmd)
			if err := cmd.Process.Signal(c.sig); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != c.code {
				t.Errorf("exit status %d, want %d", code, c.code)
			}
			if got, want := stderr.String(), "qemu-img: Interrupted by a signal before the work was complete\n"; got != want {
				t.Errorf("stderr %q, want %q", got, want)
			}
			if sum(t, filepath.Join(dir, "source.raw")) != before {
				t.Error("the source has changed")
			}
			if c.target != "" {
				mustRun(t, dir, "check", "-q", c.target)
			}
			if strings.HasPrefix(c.target, "top") {
				mustRun(t, dir, "compare", "-q", "-f", "qcow2", "-F", "raw", "top.qcow2", "source.raw")
			}
		})
	}
}

// TestProgressOnRequest: SIGUSR1 asks a verb without -p how far it is, and does not end it.
func TestProgressOnRequest(t *testing.T) {
	dir := slowDir(t)
	cmd := command(dir, "convert", "--object", "throttle-group,id=slow,x-bps-total=4000000", "--image-opts", "-O", "raw",
		slow("raw", "source.raw"), "out.raw")
	stderr := hold(t, cmd)
	if err := cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := stderr.String(); !strings.HasPrefix(got, "    (") || !strings.HasSuffix(got, "/100%)\n") || strings.Count(got, "\n") != 1 {
		t.Errorf("stderr %q, want one line of progress", got)
	}
	if sum(t, filepath.Join(dir, "source.raw")) != sum(t, filepath.Join(dir, "out.raw")) {
		t.Error("the copy differs")
	}
}

// elapsed is how long f takes, in seconds.
func elapsed(f func()) float64 {
	start := time.Now()
	f()
	return time.Since(start).Seconds()
}
