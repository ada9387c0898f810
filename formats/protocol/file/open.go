package file

import (
	"context"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"platter/formats"
	"platter/formats/qerr"
)

// image is an open file or device.
type image struct {
	name    string
	fd      int
	device  bool
	noFlush bool
	lock    bool  // locks are wanted
	align   int64 // request alignment; above 1 only with O_DIRECT
	size    atomic.Int64
	grow    sync.RWMutex // held shared by what may lengthen the file, alone by what sets its length

	noPunch, noZeroRange atomic.Bool // the file system answered that it cannot
	run                  atomic.Pointer[dataRun]
	views                views
	aio                  aio
}

// Growable etc. are constants of the kind of file.
func (f *image) Limits() formats.Limits {
	return formats.Limits{Align: f.align, ZeroInit: !f.device, ZeroUnmap: true, Growable: !f.device}
}

func open(_ context.Context, a formats.OpenArgs) (formats.Image, error) {
	return openKind(a, "file", false)
}

func openDevice(_ context.Context, a formats.OpenArgs) (formats.Image, error) {
	return openKind(a, "host_device", true)
}

func openCDROM(_ context.Context, a formats.OpenArgs) (formats.Image, error) {
	return openKind(a, "host_cdrom", true)
}

func openKind(a formats.OpenArgs, driver string, device bool) (formats.Image, error) {
	name := a.Options.String("filename", "")
	if name == "" {
		return nil, qerr.New(syscall.EINVAL, "The '%s' block driver requires a file name", driver)
	}
	way, err := aioMode(a)
	if err != nil {
		return nil, err
	}
	lock, err := lockingMode(a.Options.String("locking", "auto"))
	if err != nil {
		return nil, err
	}
	if id := a.Options.String("pr-manager", ""); id != "" {
		// Nobody sends the SCSI commands that one would carry out; but it must be there.
		if _, ok := a.Env.Object(id); !ok {
			return nil, qerr.New(syscall.EINVAL, "No persistent reservation manager with id '%s'", id)
		}
	}
	mode := unix.O_RDONLY
	if a.Flags.Has(formats.ReadWrite) {
		mode = unix.O_RDWR
	}
	if a.Flags.Has(formats.Direct) {
		mode |= unix.O_DIRECT
	}
	fd, err := openRetry(name, mode|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, openError(err, name, a.Flags)
	}
	f := &image{name: name, fd: fd, device: device, noFlush: a.Flags.Has(formats.NoFlush), align: 1}
	f.aio.mode, f.aio.env = way, a.Env
	if err := f.prepare(a, driver, lock); err != nil {
		unlock(fd)
		unix.Close(fd)
		return nil, err
	}
	return f, nil
}

func (f *image) prepare(a formats.OpenArgs, driver string, lock bool) error {
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return qerr.Errno(qerr.Of(err), "Could not stat file")
	}
	kind := st.Mode & unix.S_IFMT
	if !f.device && kind != unix.S_IFREG {
		return qerr.New(syscall.EINVAL, "'%s' driver requires '%s' to be a regular file", driver, f.name)
	}
	if f.device && kind != unix.S_IFBLK && kind != unix.S_IFCHR {
		return qerr.New(syscall.EINVAL, "'%s' driver requires '%s' to be either a character or block device", driver, f.name)
	}
	// The descriptor was opened without blocking for the sake of FIFOs; files do not know the flag.
	if flags, err := unix.FcntlInt(uintptr(f.fd), unix.F_GETFL, 0); err == nil {
		unix.FcntlInt(uintptr(f.fd), unix.F_SETFL, flags&^unix.O_NONBLOCK)
	}
	size, err := f.length(st.Size)
	if err != nil {
		return err
	}
	f.size.Store(size)
	if a.Flags.Has(formats.Direct) {
		f.align = f.directAlign()
	}
	f.lock = lock && !f.device
	f.views.usable = !f.device && f.align == 1 && f.aio.mode == "" && coherent(f.fd)
	return f.Lock(a.Perm, a.Shared)
}

// Lock takes the locks of perm and of what shared leaves out, if locks are wanted.
func (f *image) Lock(perm, shared formats.Perm) error {
	if !f.lock {
		return nil
	}
	return takeLocks(f.fd, f.name, perm, shared)
}

// aioMode reads the option aio, which the flags are the default of: "" for threads, which is pread and pwrite.
func aioMode(a formats.OpenArgs) (string, error) {
	mode := "threads"
	switch {
	case a.Flags.Has(formats.NativeAIO):
		mode = "native"
	case a.Flags.Has(formats.IOUring):
		mode = "io_uring"
	}
	mode = a.Options.String("aio", mode)
	switch mode {
	case "threads":
		return "", nil
	case "io_uring":
		return mode, nil
	case "native":
		if !a.Flags.Has(formats.Direct) {
			return "", qerr.New(syscall.EINVAL, "aio=native was specified, but it requires cache.direct=on, which was not specified.")
		}
		return mode, nil
	default:
		return "", qerr.New(syscall.EINVAL, "invalid parameter value: %s", mode)
	}
}

func openError(err error, name string, flags formats.OpenFlags) error {
	errno := qerr.Of(err)
	if errno == syscall.EINVAL && flags.Has(formats.Direct) {
		return qerr.WithHint(qerr.Errno(errno, "Could not open '%s': filesystem does not support O_DIRECT", name), "")
	}
	return qerr.Errno(errno, "Could not open '%s'", name)
}

// openRetry repeats an open that a signal interrupted, as happens on network file systems.
func openRetry(name string, mode int, perm uint32) (int, error) {
	for {
		fd, err := unix.Open(name, mode, perm)
		if err != syscall.EINTR {
			return fd, err
		}
	}
}

// FileName is the path as it was given.
func (f *image) FileName() string { return f.name }

// FD gives the descriptor for moving data directly. With O_DIRECT the caller would have to know the alignment.
func (f *image) FD() (int, bool) { return f.fd, f.align == 1 }

// Identity tells the file from others of this machine.
func (f *image) Identity() (dev, ino uint64, ok bool) {
	var st unix.Stat_t
	if unix.Fstat(f.fd, &st) != nil {
		return 0, 0, false
	}
	return st.Dev, st.Ino, true
}

// AllocatedSize is the space that the file takes on its file system, in bytes.
func (f *image) AllocatedSize(context.Context) (int64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return 0, err
	}
	return st.Blocks * 512, nil
}

func (f *image) Size() int64 { return f.size.Load() }

// Close gives up the locks and reports what the kernel reports at close.
func (f *image) Close() error {
	f.aio.close()
	f.views.unmap()
	if f.lock {
		unlock(f.fd)
	}
	return unix.Close(f.fd)
}
