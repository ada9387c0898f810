package file

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// fsxattr is struct fsxattr of linux/fs.h.
type fsxattr struct {
	xflags, extsize, nextents, projid, cowextsize uint32
	_                                             [8]byte
}

const (
	fsIocFsGetXattr  = 0x801c581f
	fsIocFsSetXattr  = 0x401c5820
	fsXflagExtsize   = 0x00000800
	extentHintIgnore = 0
	fsNoCowFlag      = 0x00800000 // FS_NOCOW_FL of linux/fs.h
)

// setExtentHint asks the file system to allocate in units of hint bytes. Few can; the file is as good without.
func setExtentHint(fd int, hint uint64) error {
	if hint == extentHintIgnore {
		return nil
	}
	var x fsxattr
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), fsIocFsGetXattr, uintptr(unsafe.Pointer(&x))); e != 0 {
		return e
	}
	x.xflags |= fsXflagExtsize
	x.extsize = uint32(hint)
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), fsIocFsSetXattr, uintptr(unsafe.Pointer(&x))); e != 0 {
		return e
	}
	return nil
}

// extentHint is the hint that the file has, in bytes; 0 for none.
func extentHint(fd int) uint32 {
	var x fsxattr
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), fsIocFsGetXattr, uintptr(unsafe.Pointer(&x))); e != 0 {
		return 0
	}
	if x.xflags&fsXflagExtsize == 0 {
		return 0
	}
	return x.extsize
}
