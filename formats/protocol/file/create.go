package file

import (
	"context"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"platter/formats"
	"platter/formats/option"
	"platter/formats/qerr"
)

var createOpts = option.Schema{
	{Name: "size", Type: option.Size, Help: "Virtual disk size"},
	{Name: "nocow", Type: option.Bool, Help: "Turn off copy-on-write (valid only on btrfs)"},
	{Name: "preallocation", Type: option.String, Help: "Preallocation mode (allowed values: off, falloc, full)"},
	{Name: "extent_size_hint", Type: option.Size, Help: "Extent size hint for the image file, 0 to disable"},
}

// defaultExtentHint keeps files on XFS from being made of very many extents, as QEMU does.
const defaultExtentHint = 1 << 20

// create makes (or empties) a regular file of a.Size bytes, rounded up to 512, while nobody else uses it.
func create(_ context.Context, a formats.CreateArgs) error {
	name := strings.TrimPrefix(a.Name, "file:")
	pre, ok := formats.ParsePrealloc(a.Options.String("preallocation", "off"))
	if !ok {
		return qerr.New(syscall.EINVAL, "invalid parameter value: %s", a.Options.String("preallocation", ""))
	}
	if hint := a.Options.Uint("extent_size_hint", defaultExtentHint); hint > 1<<32-1 {
		return qerr.New(syscall.EINVAL, "Extent size hint is too large")
	}
	fd, err := openRetry(name, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return qerr.Errno(qerr.Of(err), "Could not create '%s'", name)
	}
	err = fill(fd, name, a, pre)
	if e := unix.Close(fd); e != nil && err == nil {
		err = qerr.Errno(qerr.Of(e), "Could not close the new file")
	}
	return err
}

func fill(fd int, name string, a formats.CreateArgs, pre formats.Prealloc) error {
	perm := formats.PermWrite | formats.PermResize
	if err := takeLocks(fd, name, perm, formats.PermAll&^formats.PermResize); err != nil {
		return err
	}
	if err := unix.Ftruncate(fd, 0); err != nil {
		return qerr.Errno(qerr.Of(err), "Could not clear file")
	}
	if a.Options.Bool("nocow", false) {
		// Fails on all file systems but btrfs, and need not work there either.
		if attr, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS); err == nil {
			unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, attr|fsNoCowFlag)
		}
	}
	hint := a.Options.Uint("extent_size_hint", defaultExtentHint)
	if err := setExtentHint(fd, hint); err != nil && a.Options.Has("extent_size_hint") {
		a.Env.Warn("Failed to set extent size hint: %s", qerr.Text(err))
	}
	size := (a.Size + 511) / 512 * 512
	return setLength(fd, 0, size, pre)
}

func remove(_ context.Context, a formats.CreateArgs) error {
	return os.Remove(strings.TrimPrefix(a.Name, "file:"))
}
