package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"platter/formats/qerr"
	"platter/fusefs"
)

// hints adds, in platter mode, lines that help with an error: who holds a lock and which option would help, and what
// was probably meant by an unknown name.
func (e *env) hints(err error) {
	if e.stock {
		return
	}
	if _, rest, ok := strings.Cut(qerr.Hint(err), "Is another process using the image ["); ok {
		if end := strings.LastIndex(rest, "]?"); end >= 0 {
			e.lockHints(rest[:end])
		}
	}
	text := qerr.Text(err)
	for _, u := range []struct {
		before string
		names  func() []string
	}{
		{"Unknown file format '", e.formatNames}, {"Unknown driver '", e.formatNames}, {"Invalid parameter '", e.createOptions},
	} {
		_, rest, _ := strings.Cut(text, u.before)
		name, _, ok := strings.Cut(rest, "'")
		if !ok || name == "" {
			continue
		}
		if near := nearest(name, u.names()); near != "" {
			fmt.Fprintf(e.stderr, "Did you mean '%s'?\n", near)
		}
	}
}

func (e *env) lockHints(image string) {
	for _, h := range lockHolders(image) {
		fmt.Fprintf(e.stderr, "It is held by %s.\n", visible(h, ""))
	}
	if e.verb != nil && e.verb.Lookup(0, "force-share") != nil {
		fmt.Fprintln(e.stderr, "With -U (--force-share) it is read nevertheless, perhaps in the middle of a change.")
	}
}

func (e *env) formatNames() []string {
	var names []string
	for _, d := range e.registry().All() {
		names = append(names, d.Name)
	}
	return names
}

// createOptions are the keys of -o of all formats.
func (e *env) createOptions() []string {
	var names []string
	for _, d := range e.registry().All() {
		for _, o := range d.CreateOpts {
			names = append(names, o.Name)
		}
	}
	return names
}

// lockHolders names the other processes that have locked a file the way QEMU does, as far as they may be seen.
func lockHolders(image string) []string {
	real, err := filepath.EvalSymlinks(image)
	if err != nil {
		return nil
	}
	file, err := os.Stat(real)
	if err != nil {
		return nil
	}
	var all []string
	self, mounts := fmt.Sprint(os.Getpid()), daemons()
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range processes {
		pid := filepath.Base(dir)
		if pid == self || !holdsLock(dir, file) {
			continue
		}
		name, _ := os.ReadFile(dir + "/comm")
		holder := strings.TrimSpace(string(name)) + " (process " + pid + ")"
		if mountpoint, ok := mounts[pid]; ok {
			holder += ", which has it mounted on '" + mountpoint + "'"
		}
		all = append(all, holder)
	}
	return all
}

// daemons gives the mount points of the processes that serve a mount, as far as they answer to this user.
func daemons() map[string]string {
	mounts, err := fusefs.Mounts()
	if err != nil {
		return nil
	}
	all := map[string]string{}
	for _, m := range mounts {
		images, err := m.Status()
		if err != nil || len(images) == 0 {
			continue
		}
		pid, _ := images[0].Get("pid")
		all[fmt.Sprint(pid)] = m.Mountpoint
	}
	return all
}

// holdsLock looks at a file only where its name is that of the image: others may lie in a mount that does not answer.
func holdsLock(process string, file os.FileInfo) bool {
	descriptors, _ := filepath.Glob(process + "/fd/*")
	for _, fd := range descriptors {
		if name, err := os.Readlink(fd); err != nil || filepath.Base(name) != file.Name() {
			continue
		}
		if st, err := os.Stat(fd); err != nil || !os.SameFile(st, file) {
			continue
		}
		info, _ := os.ReadFile(process + "/fdinfo/" + filepath.Base(fd))
		if bytes.Contains(info, []byte("OFDLCK")) {
			return true
		}
	}
	return false
}
