package mount

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What hinders a mount or an unmount is told by name: the process that holds the image and where it has it mounted, what
// is mounted already, and who uses the tree.
func TestRefusalsNameWhoIsInTheWay(t *testing.T) {
	image, other := rawImage(t, 1<<20), rawImage(t, 1<<20)
	mnt := mountAt(t, "-o", "format=raw", image)
	says := func(args []string, want ...string) {
		t.Helper()
		_, stderr, code := try(t, platter, args...)
		for _, w := range want {
			if code != 1 || !strings.Contains(stderr, w) {
				t.Errorf("%v: exit status %d, %q, want %q", args, code, stderr, w)
			}
		}
	}
	says([]string{"resize", "-f", "raw", image, "2M"}, "It is held by platter (process "+itoa(pid(t, mnt))+"), which has it mounted on '"+mnt+"'.\n")
	for _, name := range []string{image, other} {
		says([]string{"mount", "-o", "format=raw", name, mnt}, "Could not mount on '"+mnt+"': '"+image+"' is mounted there already ('platter unmount "+mnt+"' ends that")
	}
	busy := func(who string) {
		t.Helper()
		says([]string{"unmount", mnt}, "'"+mnt+"'", "busy\nIt is used by "+who, "'platter unmount -l'")
	}
	sleeper := exec.Command("sleep", "60")
	sleeper.Dir = mnt
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	busy("sleep (process " + itoa(sleeper.Process.Pid) + ").")
	sleeper.Process.Kill()
	sleeper.Wait()
	f, err := os.Open(filepath.Join(mnt, "disk.raw"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	busy("mount.test (process " + itoa(os.Getpid()) + ").")
	unix.Munmap(m)
	if _, err := exec.LookPath("losetup"); err == nil && os.Geteuid() == 0 {
		loop := strings.TrimSpace(run(t, "losetup", "-f", "--show", filepath.Join(mnt, "disk.raw")))
		busy(loop + ".")
		run(t, "losetup", "-d", loop)
		waitFor(t, "the end of "+loop, func() bool { b, _ := os.ReadFile("/sys/block/" + loop[5:] + "/loop/backing_file"); return len(b) == 0 })
	}
	unmount(t, mnt)
}

// Names with control characters are written out in what a terminal gets.
func TestListShowsControlCharacters(t *testing.T) {
	image := filepath.Join(t.TempDir(), "a\x1b[31m\nb")
	if err := os.WriteFile(image, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	mnt := mountAt(t, "-o", "format=raw", image)
	if out := run(t, platter, "list"); !strings.Contains(out, `a\x1b[31m\x0ab on `+mnt+": format raw") || strings.Contains(out, "\x1b") {
		t.Errorf("list: %q", out)
	}
	if _, stderr, _ := try(t, platter, "mount", image, mnt); !strings.Contains(stderr, `a\x1b[31m`) || strings.Contains(stderr, "\x1b") {
		t.Errorf("mount: %q", stderr)
	}
}

// A daemon that is stopped does not stop list.
func TestListOfAStoppedDaemon(t *testing.T) {
	image, mnt, _ := mountRaw(t, 1<<20)
	daemon := pid(t, mnt)
	unix.Kill(daemon, unix.SIGSTOP)
	waitFor(t, "the daemon to stop", func() bool {
		b, _ := os.ReadFile("/proc/" + itoa(daemon) + "/status")
		return strings.Contains(string(b), "(stopped)")
	})
	begun := time.Now()
	out := run(t, platter, "list")
	unix.Kill(daemon, unix.SIGCONT)
	if !strings.Contains(out, image+" on "+mnt+": no answer\n") {
		t.Errorf("after %v: %q", time.Since(begun), out)
	}
}
