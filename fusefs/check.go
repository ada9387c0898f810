package fusefs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"platter/formats/qerr"
)

// prepare looks whether something can be mounted on the directory, and frees it from a mount whose daemon is gone.
// files are the host files that the mount needs: none of them may lie below it, as reading it would wait for itself.
func prepare(c *Config, files []string) error {
	refuse := func(errno syscall.Errno, why string) error {
		return qerr.New(errno, "Could not mount on '%s': %s", c.Mountpoint, why)
	}
	st, list, err := look(c.Mountpoint)
	if errors.Is(err, syscall.ENOTCONN) {
		if _, ours := find(c.Mountpoint); !ours {
			return refuse(syscall.ENOTCONN, "another program's mount is there, whose server is gone")
		}
		if err := detach(canonical(c.Mountpoint), true); err != nil {
			return err
		}
		st, list, err = look(c.Mountpoint)
	}
	switch {
	case err != nil:
		return refuse(qerr.Of(err), qerr.Text(err))
	case st.Mode()&os.ModeSymlink != 0:
		return refuse(syscall.ELOOP, "it is a symbolic link")
	case !st.IsDir():
		return refuse(syscall.ENOTDIR, qerr.Strerror(syscall.ENOTDIR))
	}
	c.Mountpoint = canonical(c.Mountpoint)
	if !c.NonEmpty && len(list) > 0 {
		return refuse(syscall.ENOTEMPTY, "the directory is not empty (mount over it with -o nonempty)")
	}
	for _, name := range files {
		real, err := filepath.EvalSymlinks(name)
		if err == nil && strings.HasPrefix(real, strings.TrimSuffix(c.Mountpoint, "/")+"/") {
			return refuse(syscall.EINVAL, "it contains '"+name+"', which the mount needs")
		}
	}
	return nil
}

// look stats a directory and lists it; the first may succeed from the kernel's memory where the server is gone.
func look(name string) (os.FileInfo, []os.DirEntry, error) {
	st, err := os.Lstat(name)
	if err != nil || !st.IsDir() {
		return st, nil, err
	}
	list, err := os.ReadDir(name)
	return st, list, err
}
