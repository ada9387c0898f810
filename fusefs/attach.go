package fusefs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"platter/formats/qerr"
)

// maxTransfer is the largest read or write that the kernel sends, the most it allows by default.
const maxTransfer = 1 << 20

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
	if err := Vacant(*c); err != nil {
		return err
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

// Vacant reports an error if there is a mount of this program on the directory that serves, and none is wanted over it.
// It can be asked before the images are opened, one of which may be the one that is mounted there.
func Vacant(c Config) error {
	there, ok := find(c.Mountpoint)
	if !ok || c.NonEmpty {
		return nil
	}
	if _, _, err := look(c.Mountpoint); errors.Is(err, syscall.ENOTCONN) {
		return nil
	}
	return qerr.New(syscall.EBUSY, "Could not mount on '%s': '%s' is mounted there already ('platter unmount %s' ends that; -o nonempty mounts over it)",
		c.Mountpoint, there.Source, there.Mountpoint)
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

// attach makes the mount and gives the descriptor over which the kernel talks: directly where this process may, through
// fusermount3 otherwise.
func attach(c *Config) (int, error) {
	fd, err := attachDirect(c)
	if err == nil || os.Geteuid() == 0 && !errors.Is(err, syscall.EPERM) {
		return fd, err
	}
	return attachHelper(c)
}

func attachDirect(c *Config) (int, error) {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, qerr.Errno(qerr.Of(err), "Could not open '/dev/fuse'")
	}
	flags := c.Flags
	if c.ReadOnly {
		flags |= unix.MS_RDONLY
	}
	data := fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d,max_read=%d,default_permissions",
		fd, os.Geteuid(), os.Getegid(), maxTransfer)
	if c.AllowOther {
		data += ",allow_other"
	}
	if err := unix.Mount(c.Source, c.Mountpoint, "fuse.platter", flags, data); err != nil {
		unix.Close(fd)
		return -1, qerr.Errno(qerr.Of(err), "Could not mount on '%s'", c.Mountpoint)
	}
	return fd, nil
}

// helper finds fusermount3 where distributions put it: a name from PATH could be anybody's program.
func helper() (string, error) {
	for _, name := range []string{"/usr/bin/fusermount3", "/bin/fusermount3", "/usr/local/bin/fusermount3"} {
		if unix.Access(name, unix.X_OK) == nil {
			return name, nil
		}
	}
	return "", qerr.New(syscall.ENOENT, "Mounting as an unprivileged user needs fusermount3, which was not found "+
		"(it is in the package fuse3)")
}

// flagNames are the words for flags of mount(2) that are not what a mount has without them.
var flagNames = []struct {
	flag uintptr
	name string
}{
	{unix.MS_NOSUID, "nosuid"}, {unix.MS_NODEV, "nodev"}, {unix.MS_NOEXEC, "noexec"}, {unix.MS_SYNCHRONOUS, "sync"},
	{unix.MS_DIRSYNC, "dirsync"}, {unix.MS_NOATIME, "noatime"}, {unix.MS_NODIRATIME, "nodiratime"}, {unix.MS_STRICTATIME, "strictatime"},
}

// attachHelper lets fusermount3 mount; it sends the descriptor over a socket.
func attachHelper(c *Config) (int, error) {
	name, err := helper()
	if err != nil {
		return -1, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(pair[0])
	remote := os.NewFile(uintptr(pair[1]), "fusermount")
	defer remote.Close()
	opts := []string{"default_permissions", fmt.Sprintf("max_read=%d", maxTransfer), "subtype=platter",
		"fsname=" + strings.NewReplacer(`\`, `\\`, ",", `\,`).Replace(c.Source)}
	if c.ReadOnly {
		opts = append(opts, "ro")
	}
	if c.AllowOther {
		opts = append(opts, "allow_other")
	}
	for _, f := range flagNames {
		if c.Flags&f.flag != 0 {
			opts = append(opts, f.name)
		}
	}
	cmd := exec.Command(name, "-o", strings.Join(opts, ","), "--", c.Mountpoint)
	cmd.Env = []string{"_FUSE_COMMFD=3", "PATH=/usr/bin:/bin"}
	cmd.ExtraFiles = []*os.File{remote}
	var words bytes.Buffer
	cmd.Stderr = &words
	if err := cmd.Run(); err != nil {
		return -1, qerr.New(syscall.EPERM, "Could not mount on '%s': %s", c.Mountpoint, said(words.String(), err))
	}
	return receive(pair[0])
}

// said gives what a helper program wrote, or the error if it wrote nothing.
func said(words string, err error) string {
	if words = strings.TrimSpace(words); words != "" {
		return words
	}
	return err.Error()
}

func receive(socket int) (int, error) {
	var data [8]byte
	control := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(socket, data[:], control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, qerr.Errno(qerr.Of(err), "fusermount3 gave no descriptor")
	}
	msgs, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(msgs) != 1 {
		return -1, qerr.New(syscall.EIO, "fusermount3 gave no descriptor")
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return -1, qerr.New(syscall.EIO, "fusermount3 gave no descriptor")
	}
	return fds[0], nil
}

// detach unmounts; lazily means that open files keep the file system alive.
func detach(mountpoint string, lazily bool) error {
	flags := unix.UMOUNT_NOFOLLOW
	if lazily {
		flags |= unix.MNT_DETACH
	}
	err := unix.Unmount(mountpoint, flags)
	if err == nil || !errors.Is(err, syscall.EPERM) {
		return qerr.Prepend(err, "Could not unmount '%s': ", mountpoint)
	}
	name, err := helper()
	if err != nil {
		return err
	}
	args := []string{"-u", "--", mountpoint}
	if lazily {
		args = []string{"-u", "-z", "--", mountpoint}
	}
	cmd := exec.Command(name, args...)
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	var words bytes.Buffer
	cmd.Stderr = &words
	if err := cmd.Run(); err != nil {
		return qerr.New(syscall.EBUSY, "Could not unmount '%s': %s", mountpoint, said(words.String(), err))
	}
	return nil
}
