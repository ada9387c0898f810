package fusefs

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"platter/formats/qerr"
)

// Mounted is a mount of this program, as the kernel lists it.
type Mounted struct {
	Mountpoint string
	Source     string // what is mounted: the image, or the directory of images
	device     string // major:minor
	user       uint32 // who mounted
}

// Mounts lists the mounts of this program that the calling process sees, in the kernel's order.
func Mounts() ([]Mounted, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []Mounted
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		if m, ok := parseMount(sc.Text()); ok {
			list = append(list, m)
		}
	}
	return list, sc.Err()
}

// parseMount reads a line of mountinfo (proc_pid_mountinfo(5)); false if it is not one of ours.
func parseMount(line string) (Mounted, bool) {
	left, right, ok := strings.Cut(line, " - ")
	a, b := strings.Fields(left), strings.Fields(right)
	if !ok || len(a) < 5 || len(b) < 3 || b[0] != "fuse.platter" {
		return Mounted{}, false
	}
	m := Mounted{device: a[2], Mountpoint: unescape(a[4]), Source: unescape(b[1])}
	for _, o := range strings.Split(b[2], ",") {
		if v, ok := strings.CutPrefix(o, "user_id="); ok {
			n, _ := strconv.ParseUint(v, 10, 32)
			m.user = uint32(n)
		}
	}
	return m, true
}

// unescape undoes the kernel's \ooo.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// find gives the mount on a directory, the uppermost one. It touches nothing but the directory's parents, since the
// daemon behind the mount may be gone.
func find(mountpoint string) (Mounted, bool) {
	mountpoint = canonical(mountpoint)
	if _, nothing, err := glance(mountpoint); err == nil && nothing {
		return Mounted{}, false
	}
	list, err := Mounts()
	if err != nil {
		return Mounted{}, false
	}
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].Mountpoint == mountpoint {
			return list[i], true
		}
	}
	return Mounted{}, false
}

// glance tells the device of a directory, and whether nothing is mounted on it for sure: not every kernel says. Asking for
// no attributes (statx(2), stx_mask) asks nobody but the kernel, and is allowed to all.
func glance(path string) (device string, nothing bool, err error) {
	var st unix.Statx_t
	err = unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT|unix.AT_STATX_DONT_SYNC, 0, &st)
	if err != nil {
		return "", false, err
	}
	nothing = st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0
	return fmt.Sprintf("%d:%d", st.Dev_major, st.Dev_minor), nothing, nil
}

// canonical makes a path absolute and resolves the links on the way to its last element.
func canonical(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil && abs != "/" {
		return filepath.Join(dir, filepath.Base(abs))
	}
	return abs
}

// withUsers adds to an error that says that a mount is busy who uses it, as far as that can be seen, and what to do.
func withUsers(err error, mountpoint string) error {
	text := qerr.Text(err)
	if qerr.Of(err) != syscall.EBUSY || !strings.Contains(text, qerr.Strerror(syscall.EBUSY)) {
		return err
	}
	who := "It is in use, by whom cannot be seen here"
	if users := usersOf(mountpoint); len(users) > 0 {
		who = "It is used by " + strings.Join(users, ", ")
	}
	return qerr.WithHint(err, who+".\nEnd that and try again, or detach it with 'platter unmount -l': the image is then complete when its last user is gone.\n")
}

// maxUsers is how many users of a mount are named.
const maxUsers = 5

// usersOf names those who use files of a mount: processes, loop devices, and further mounts in it. It only reads links,
// so that it never waits for the mount.
func usersOf(mountpoint string) []string {
	inside := func(name string) bool { return name == mountpoint || strings.HasPrefix(name, mountpoint+"/") }
	var users []string
	loops, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, name := range loops {
		if b, err := os.ReadFile(name); err == nil && inside(strings.TrimSpace(string(b))) {
			users = append(users, "/dev/"+strings.Split(name, "/")[3])
		}
	}
	if b, err := os.ReadFile("/proc/self/mountinfo"); err == nil {
		for _, line := range strings.Split(string(b), "\n") {
			if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(unescape(f[4]), mountpoint+"/") {
				users = append(users, "the mount on "+clean(unescape(f[4])))
			}
		}
	}
	processes, _ := filepath.Glob("/proc/[0-9]*")
	self := "/proc/" + strconv.Itoa(os.Getpid())
	for _, dir := range processes {
		if dir == self {
			continue // what the shell had open
		}
		links, _ := filepath.Glob(dir + "/fd/*")
		for _, link := range append(links, dir+"/cwd", dir+"/root", dir+"/exe") {
			if to, err := os.Readlink(link); err == nil && inside(strings.TrimSuffix(to, " (deleted)")) {
				users = append(users, processName(dir))
				break
			}
		}
	}
	if len(users) == 0 {
		users = mappersOf(mountpoint, processes)
	}
	if more := len(users) - maxUsers; more > 0 {
		users = append(users[:maxUsers], strconv.Itoa(more)+" more")
	}
	return users
}

// mappersOf names the processes that have mapped a file of a mount.
func mappersOf(mountpoint string, processes []string) []string {
	var users []string
	for _, dir := range processes {
		if b, err := os.ReadFile(dir + "/maps"); err == nil && strings.Contains(string(b), " "+mountpoint+"/") {
			users = append(users, processName(dir))
		}
	}
	return users
}

// processName names the process of a directory of /proc.
func processName(dir string) string {
	name, _ := os.ReadFile(dir + "/comm")
	return clean(string(name)) + " (process " + filepath.Base(dir) + ")"
}
