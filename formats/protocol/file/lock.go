package file

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"platter/formats"
	"platter/formats/qerr"
)

// The first bytes that stand for permissions in use and for permissions not shared.
const (
	usedBase      = 100
	notSharedBase = 200
)

// lockingMode reads the locking option. auto and on are the same where open file description locks exist, and every
// kernel that this program runs on has them.
func lockingMode(s string) (bool, error) {
	switch s {
	case "on", "auto":
		return true, nil
	case "off":
		return false, nil
	}
	return false, qerr.New(syscall.EINVAL, "invalid parameter value: %s", s)
}

// takeLocks locks the bytes of perm and of what shared leaves out, then looks whether somebody else's bytes conflict.
func takeLocks(fd int, name string, perm, shared formats.Perm) error {
	for bit := 0; bit < 4; bit++ {
		p := formats.Perm(1) << bit
		if perm&p != 0 {
			if err := lockByte(fd, usedBase+int64(bit)); err != nil {
				return err
			}
		}
		if shared&p == 0 {
			if err := lockByte(fd, notSharedBase+int64(bit)); err != nil {
				return err
			}
		}
	}
	for bit := 0; bit < 4; bit++ {
		p := formats.Perm(1) << bit
		if perm&p != 0 && held(fd, notSharedBase+int64(bit)) {
			return conflict(name, fmt.Sprintf("Failed to get \"%s\" lock", p.Name()))
		}
		if shared&p == 0 && held(fd, usedBase+int64(bit)) {
			return conflict(name, fmt.Sprintf("Failed to get shared \"%s\" lock", p.Name()))
		}
	}
	return nil
}

func conflict(name, msg string) error {
	return qerr.WithHint(qerr.New(syscall.EAGAIN, "%s", msg), fmt.Sprintf("Is another process using the image [%s]?\n", name))
}

func lockByte(fd int, at int64) error {
	l := unix.Flock_t{Type: unix.F_RDLCK, Whence: 0, Start: at, Len: 1}
	err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &l)
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) {
		return qerr.New(syscall.EAGAIN, "Failed to lock byte %d", at)
	}
	if err != nil {
		return qerr.Errno(qerr.Of(err), "Failed to lock byte %d", at)
	}
	return nil
}

// held reports whether another open file description has a lock on the byte.
func held(fd int, at int64) bool {
	l := unix.Flock_t{Type: unix.F_WRLCK, Whence: 0, Start: at, Len: 1}
	err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &l)
	return err == nil && l.Type != unix.F_UNLCK
}

// unlock gives up all locks of a descriptor that is about to be closed. Closing alone would do, were it not for a process
// that is just being started: it has a copy of the descriptor, and the locks with it, until its program runs.
func unlock(fd int) {
	l := unix.Flock_t{Type: unix.F_UNLCK, Whence: 0, Start: usedBase, Len: notSharedBase + 4 - usedBase}
	_ = unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &l)
}
