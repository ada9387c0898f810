package mount

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"platter/integration/programs"
)

// platter is the program under test.
var platter string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "mounts")
	if err != nil {
		panic(err)
	}
	os.Chmod(dir, 0o755)
	if built := os.Getenv(binaryVariable); built != "" { // these are the tests that run as another user
		platter = built
		finish(m, dir)
	}
	platter = filepath.Join(dir, "platter")
	args := []string{"build", "-o", platter}
	if os.Getenv("PLATTER_TEST_RACE") != "" { // the daemon under the race detector; its reports go to standard error
		os.Setenv("CGO_ENABLED", "1")
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "platter/cmd/platter")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building platter: %v\n%s", err, out)
		os.Exit(1)
	}
	finish(m, dir)
}

// binaryVariable names the program under test where it is not to be built.
const binaryVariable = "PLATTER_MOUNT_TEST_BIN"

// finish runs the tests with dir for all their files, and fails if something is left there.
func finish(m *testing.M, dir string) {
	base := os.Getenv("TMPDIR")
	os.Setenv("TMPDIR", dir) // whatever a test leaves behind lies there
	code := m.Run()
	os.Setenv("TMPDIR", base)
	if left := leftovers(dir); len(left) > 0 {
		fmt.Fprintf(os.Stderr, "the tests left behind:\n%s\n", strings.Join(left, "\n"))
		code = max(code, 1)
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// leftovers finds, and ends, mounts and loop devices of files below dir.
func leftovers(dir string) []string {
	var left []string
	b, _ := os.ReadFile("/proc/self/mountinfo")
	lines := strings.Split(string(b), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if f := strings.Fields(lines[i]); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			left = append(left, "mount "+f[4])
			syscall.Unmount(f[4], syscall.MNT_DETACH)
		}
	}
	files, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, name := range files {
		if b, _ := os.ReadFile(name); strings.HasPrefix(string(b), dir+"/") {
			loop := "/dev/" + strings.Split(name, "/")[3]
			left = append(left, loop+" on "+strings.TrimSpace(string(b)))
			exec.Command("losetup", "-d", loop).Run()
		}
	}
	return left
}

// needFUSE skips where nothing can be mounted.
func needFUSE(t *testing.T) {
	t.Helper()
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no FUSE here: %v", err)
	}
	f.Close()
	if os.Geteuid() != 0 {
		if _, err := exec.LookPath("fusermount3"); err != nil {
			t.Skip("neither root nor fusermount3")
		}
	}
}

// need skips if one of the tools is missing, or root's rights for loop devices.
func need(t *testing.T, tools ...string) {
	t.Helper()
	os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
	for _, tool := range tools {
		if tool == "losetup" {
			if os.Geteuid() != 0 {
				t.Skip("loop devices need root")
			}
			if _, err := os.Stat("/dev/loop-control"); err != nil {
				t.Skip("no loop devices here")
			}
		}
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
}

// stock gives a tool of stock qemu, or skips.
func stock(t *testing.T, tool string) string {
	t.Helper()
	return programs.StockPath(t, tool)
}

// run runs a command that must succeed and gives its standard output.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, stderr, code := try(t, name, args...)
	if code != 0 {
		t.Fatalf("%s %s: exit status %d\n%s%s", name, strings.Join(args, " "), code, out, stderr)
	}
	return out
}

// try runs a command and gives its output and exit status.
func try(t *testing.T, name string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command(name, args...)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatalf("%s: %v", name, err)
	}
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

// sh runs a shell script with $M, $D set to the mount point and the directory of the images.
func sh(t *testing.T, script string, vars ...string) string {
	t.Helper()
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", script)
	cmd.Env = append(os.Environ(), vars...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s\n%v\n%s", script, err, out)
	}
	return string(out)
}

// shell starts a shell script in a process group of its own.
func shell(t *testing.T, script string, vars ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", script)
	cmd.Env = append(os.Environ(), vars...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// mountAt mounts images (options first) on a new directory, unmounted at the end of the test if it still is mounted.
func mountAt(t *testing.T, args ...string) string {
	t.Helper()
	needFUSE(t)
	mnt := filepath.Join(t.TempDir(), "mnt")
	if err := os.Mkdir(mnt, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { give(mnt) })
	run(t, platter, append(append([]string{"mount"}, args...), mnt)...)
	return mnt
}

// give frees a mount point whatever its state.
func give(mnt string) {
	for range 10 {
		if exec.Command(platter, "unmount", mnt).Run() == nil {
			return
		}
		if b, _ := os.ReadFile("/proc/self/mountinfo"); !strings.Contains(string(b), " "+mnt+" ") {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	exec.Command(platter, "unmount", "-l", mnt).Run() // something still has a file open or mapped
}

func unmount(t *testing.T, mnt string) {
	t.Helper()
	run(t, platter, "unmount", mnt)
}

// waitFor waits until something is so.
func waitFor(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// pid is the daemon behind a mount.
func pid(t *testing.T, mnt string) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(mnt, "stats.json"))
	if err != nil {
		t.Fatal(err)
	}
	var n int
	for _, line := range strings.Split(string(b), "\n") {
		fmt.Sscanf(strings.TrimSpace(line), `"pid": %d`, &n)
	}
	if n == 0 {
		t.Fatalf("no pid in %s", b)
	}
	return n
}

func sum(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func itoa(n int) string { return fmt.Sprint(n) }

func readJSON(t *testing.T, name string, into any) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, b)
	}
}
