package file

import (
	"context"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"platter/formats"
	"platter/formats/option"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

var deviceCreateOpts = option.Schema{
	{Name: "size", Type: option.Size, Help: "Virtual disk size"},
	{Name: "preallocation", Type: option.String, Help: "Preallocation mode (allowed values: off)"},
}

// length is the size of the file, given stat's, or of the device.
func (f *image) length(statSize int64) (int64, error) {
	if !f.device {
		return statSize, nil
	}
	size, err := unix.Seek(f.fd, 0, unix.SEEK_END)
	if err != nil {
		return 0, qerr.Errno(qerr.Of(err), "Could not refresh total sector count")
	}
	return size, nil
}

// directAlign finds the alignment that O_DIRECT asks for: the device's sector, or what statx says of the file.
func (f *image) directAlign() int64 {
	if f.device {
		if n, err := unix.IoctlGetInt(f.fd, unix.BLKSSZGET); err == nil && n >= 512 {
			return int64(n)
		}
	}
	var st unix.Statx_t
	err := unix.Statx(f.fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st)
	if err == nil && st.Mask&unix.STATX_DIOALIGN != 0 && st.Dio_offset_align > 0 {
		return int64(max(st.Dio_offset_align, st.Dio_mem_align, 512))
	}
	return 4096
}

// deviceRange runs a discard or zero-out ioctl over a range of bytes.
func deviceRange(fd int, request uint, off, n int64) error {
	arg := [2]uint64{uint64(off), uint64(n)}
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(unsafe.Pointer(&arg)))
	switch {
	case e == 0:
		return nil
	case cannot(e):
		return syscall.ENOTSUP
	}
	return e
}

func (f *image) truncateDevice(size int64, pre formats.Prealloc) error {
	if pre != formats.PreallocOff {
		return qerr.New(syscall.ENOTSUP, "Preallocation mode '%s' unsupported for this non-regular file", pre)
	}
	cur, err := f.length(0)
	if err != nil {
		return err
	}
	if size != cur {
		return qerr.New(syscall.ENOTSUP, "Cannot resize device files")
	}
	return nil
}

// TooSmall is why a device cannot take an image larger than itself.
func (f *image) TooSmall() error { return qerr.New(syscall.EINVAL, "Cannot grow device files") }

// Info says that a file has no clusters of its own; there is nothing else to tell.
func (f *image) Info(context.Context) (formats.Info, error) { return formats.Info{}, nil }

// Specific tells of the extent size hint, where there is one.
func (f *image) Specific(context.Context) (string, *qobj.Dict, error) {
	hint := extentHint(f.fd)
	if hint == 0 {
		return "file", nil, nil
	}
	d := qobj.NewDict()
	d.Set("extent-size-hint", int64(hint))
	return "file", d, nil
}

var _ interface {
	formats.File
	formats.Describer
	formats.Named
	formats.Identified
	formats.HostFile
	formats.HostSized
} = (*image)(nil)
