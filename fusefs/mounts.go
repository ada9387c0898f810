package fusefs

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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
