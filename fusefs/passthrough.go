package fusefs

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// passthrough lets the kernel read a disk that is a whole file of this machine (a raw image, a flat VMDK) from that file
// itself, without asking anybody: at the speed of the file. It takes Linux 6.9 and the rights of root; elsewhere the
// disk is read as all others are.
//
// Disks that can be written are not passed through. The kernel knows no end of the disk then: a write past it would make
// the image longer, and one that fills the disk would fill the host's. Nor would the daemon learn that the partitions
// changed, or when.
//
// All descriptors of a file must be of one kind at a time. Reads with O_DIRECT come to the daemon all the same: passed on,
// they would read from the medium what the page cache has.
type passthrough struct {
	mu      sync.Mutex
	opens   int
	id      int32
	refused bool
}

const (
	backingOpen  = 0x4010e501 // FUSE_DEV_IOC_BACKING_OPEN
	backingClose = 0x4004e502 // FUSE_DEV_IOC_BACKING_CLOSE
)

// enter counts an open descriptor and gives the number by which the kernel knows the file, 0 where it must not be used.
func (p *passthrough) enter(f *dataFile) int32 {
	k := f.img.tree.kernel
	if f != f.img.disk || f.writable || k == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opens == 0 && !p.refused {
		fd, ok := f.img.node.HostFile()
		if ok {
			p.id, ok = k.register(fd)
		}
		p.refused = !ok
	}
	if p.refused {
		return 0
	}
	p.opens++
	return p.id
}

// leave ends what enter began.
func (p *passthrough) leave(f *dataFile) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opens--; p.opens == 0 {
		f.img.tree.kernel.unregister(p.id)
	}
}

// register gives the kernel a file to read from.
func (x *transport) register(fd int) (int32, bool) {
	arg := struct {
		fd      int32
		flags   uint32
		padding uint64
	}{fd: int32(fd)}
	id, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(x.fd), backingOpen, uintptr(unsafe.Pointer(&arg)))
	return int32(id), e == 0 && id > 0
}

func (x *transport) unregister(id int32) {
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(x.fd), backingClose, uintptr(unsafe.Pointer(&id)))
}
