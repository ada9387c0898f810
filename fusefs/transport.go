package fusefs

import (
	"errors"
	"syscall"
	"time"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"platter/formats"
	"platter/formats/qerr"
)

// transport moves requests between /dev/fuse and the tree. go-fuse's own server hands each request to another goroutine
// where nobody else waits, which costs a wakeup; here threads of their own, each with its own clone of the device and
// its own buffers, read a request, handle it and answer. READ and WRITE are decoded here; everything else is
// go-fuse's protocol server.
//
// How many threads there are is the business of crew.
type transport struct {
	crew
	tree   *tree
	proto  *fuse.ProtocolServer
	fd     int // the session's descriptor; clones belong to the threads
	panics func(any) fuse.Status
}

const (
	pageSize   = 4096
	hugePage   = 2 << 20
	inHeader   = 40 // struct fuse_in_header
	writeIn    = 40 // struct fuse_write_in
	outHeader  = 16 // struct fuse_out_header
	opRead     = 15
	opWrite    = 16
	opIntr     = 36
	opLseek    = 46
	devClone   = 0x8004e500 // FUSE_DEV_IOC_CLONE
	lendFrom   = 64 << 10   // less is copied: describing it costs as much
	noticeOff  = 2          // FUSE_NOTIFY_INVAL_INODE
	noticeName = 3          // FUSE_NOTIFY_INVAL_ENTRY
)

// newTransport answers the kernel's first request.
func newTransport(t *tree, fd int, o *fuse.MountOptions) (*transport, error) {
	x := &transport{tree: t, proto: fuse.NewProtocolServer(t, o), fd: fd, panics: o.PanicHandler}
	w := x.worker(fd)
	defer w.free()
	for {
		n, err := unix.Read(fd, w.in)
		if errors.Is(err, syscall.EINTR) || errors.Is(err, syscall.ENOENT) {
			continue
		}
		if err != nil {
			return nil, qerr.Errno(qerr.Of(err), "the kernel sends no request")
		}
		w.handle(n)
		return x, nil
	}
}

// clone gives the thread a queue of its own for answers; without the right to open the device it shares the session's.
func (x *transport) clone(flags int) int {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC|flags, 0)
	if err != nil {
		return x.fd
	}
	session := uint32(x.fd)
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), devClone, uintptr(unsafe.Pointer(&session))); e != 0 {
		unix.Close(fd)
		return x.fd
	}
	return fd
}

// worker is one thread's descriptors and buffers. The data of a WRITE and of the answer to a READ lie on page boundaries,
// the former in one huge page: the kernel pins and copies them page by page. What is not used takes no memory, so the
// huge page, which is cleared at once, is there only for those who write.
type worker struct {
	*transport
	fd      int           // where the present request came from, and its answer goes
	waiting int           // the clone on which the thread sleeps until a request comes
	polled  int           // the clone that answers at once whether there is one; -1: none
	window  time.Duration // for how long it is asked (see next)
	began   time.Time     // when the present request was read
	pressed bool          // another one waits meanwhile
	doubts  int           // how many requests are still to be looked at closely (see attend)
	closely bool          // the present one is
	memory  []byte
	in, out []byte
	loan    formats.Loan
	vector  [1 + formats.MaxParts]unix.Iovec
}

func (x *transport) worker(fd int) *worker {
	m, err := unix.Mmap(-1, 0, 2*hugePage+maxTransfer+2*pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		panic(err) // out of address space
	}
	// The data begins at a multiple of the size of a huge page, the header in the page before.
	first := uintptr(unsafe.Pointer(&m[0]))
	b := m[(first+pageSize+hugePage-1)/hugePage*hugePage-first-pageSize:]
	_ = unix.Madvise(b[pageSize:][:hugePage], unix.MADV_HUGEPAGE) // where there are none it works as well
	const in, out = pageSize, pageSize + hugePage
	return &worker{transport: x, fd: fd, waiting: fd, polled: -1, memory: m,
		in:  b[in-inHeader-writeIn : in+maxTransfer],
		out: b[out+pageSize-outHeader:][:outHeader+maxTransfer]}
}

func (w *worker) free() {
	unix.Munmap(w.memory)
	for _, fd := range []int{w.waiting, w.polled} {
		if fd >= 0 && fd != w.transport.fd {
			unix.Close(fd)
		}
	}
}

func (w *worker) opcode() uint32 { return (*fuse.InHeader)(unsafe.Pointer(&w.in[0])).Opcode }

// handle answers the request in w.in[:n].
func (w *worker) handle(n int) {
	h := (*fuse.InHeader)(unsafe.Pointer(&w.in[0]))
	if n >= inHeader+writeIn {
		switch h.Opcode {
		case opRead:
			w.read((*fuse.ReadIn)(unsafe.Pointer(&w.in[0])))
			return
		case opWrite:
			if in := (*fuse.WriteIn)(unsafe.Pointer(&w.in[0])); !w.tree.commands(in.Fh) {
				w.write(in, w.in[inHeader+writeIn:n])
				return
			}
		}
	}
	if h.Opcode == opLseek && n >= int(unsafe.Sizeof(fuse.LseekIn{})) && w.seek((*fuse.LseekIn)(unsafe.Pointer(&w.in[0]))) {
		return
	}
	size, st := w.proto.HandleRequest([][]byte{w.in[:n]}, [][]byte{w.out})
	if h.Opcode == opIntr && size >= outHeader {
		return // a request that is not interruptible; the kernel would only ask again
	}
	if size == 0 && !st.Ok() {
		w.reply(h.Unique, st, 0)
		return
	}
	if size > 0 {
		unix.Write(w.fd, w.out[:size])
	}
}

func (w *worker) read(in *fuse.ReadIn) {
	if in.Size >= lendFrom && int(in.Size) <= maxTransfer && w.readLent(in) {
		return
	}
	n, st := 0, fuse.EINVAL
	if int(in.Size) <= maxTransfer {
		n, st = w.guard(func() (int, fuse.Status) { return w.tree.readInto(in, w.out[outHeader:outHeader+int(in.Size)]) })
		w.look()
	}
	w.reply(in.Unique, st, n)
}

// readLent answers with memory that the files of the image have already: one copy less. It reports false if they lend
// nothing.
func (w *worker) readLent(in *fuse.ReadIn) bool {
	h, ok := w.tree.handles.get(in.Fh).(*dataHandle)
	if !ok || int64(in.Offset) < 0 {
		return false
	}
	defer w.loan.Release()
	n, st := w.guard(func() (int, fuse.Status) {
		n, ok := h.lend(int(in.Size), int64(in.Offset), &w.loan)
		if !ok {
			return 0, fuse.ENOSYS
		}
		return n, fuse.OK
	})
	if !st.Ok() {
		return false
	}
	*(*fuse.OutHeader)(unsafe.Pointer(&w.out[0])) = fuse.OutHeader{Length: uint32(outHeader + n), Unique: in.Unique}
	w.vector[0].Base = &w.out[0]
	w.vector[0].SetLen(outHeader)
	for k, p := range w.loan.Parts {
		w.vector[1+k].Base = &p[0]
		w.vector[1+k].SetLen(len(p))
	}
	_, _, e := unix.Syscall(unix.SYS_WRITEV, uintptr(w.fd), uintptr(unsafe.Pointer(&w.vector[0])), uintptr(1+len(w.loan.Parts)))
	if e == syscall.EFAULT { // the kernel has answered the caller with EIO
		h.lost(int64(in.Offset), n, syscall.EIO)
	}
	return true
}

func (w *worker) write(in *fuse.WriteIn, p []byte) {
	n, st := 0, fuse.EINVAL
	if int(in.Size) == len(p) {
		n, st = w.guard(func() (int, fuse.Status) { return w.tree.writeFrom(in, p) })
		w.look()
	}
	*(*fuse.WriteOut)(unsafe.Pointer(&w.out[outHeader])) = fuse.WriteOut{Size: uint32(n)}
	w.reply(in.Unique, st, int(unsafe.Sizeof(fuse.WriteOut{})))
}

// seek answers an LSEEK, as cp, tar and others send for each run of a disk, if the answer is near.
func (w *worker) seek(in *fuse.LseekIn) bool {
	near := false
	at, st := w.guard(func() (int, fuse.Status) {
		at, st, ok := w.tree.seekAt(in)
		near = ok
		return int(at), st
	})
	if !near && st.Ok() {
		return false
	}
	*(*fuse.LseekOut)(unsafe.Pointer(&w.out[outHeader])) = fuse.LseekOut{Offset: uint64(at)}
	w.reply(in.Unique, st, int(unsafe.Sizeof(fuse.LseekOut{})))
	return true
}

// guard turns a panic of a driver into an error of this request.
func (w *worker) guard(f func() (int, fuse.Status)) (n int, st fuse.Status) {
	defer func() {
		if v := recover(); v != nil {
			n, st = 0, w.panics(v)
		}
	}()
	return f()
}

// reply sends the header and n bytes of what lies behind it in w.out; only the header if st is an error.
func (w *worker) reply(unique uint64, st fuse.Status, n int) {
	if !st.Ok() {
		n = 0
	}
	*(*fuse.OutHeader)(unsafe.Pointer(&w.out[0])) = fuse.OutHeader{Length: uint32(outHeader + n), Status: -int32(st), Unique: unique}
	// An error means that the request was aborted or the mount is gone; there is nobody to tell.
	unix.Write(w.fd, w.out[:outHeader+n])
}

// dropPages tells the kernel that n bytes at off of a file, all from off on if n is 0, are not what it remembers.
func (x *transport) dropPages(id uint64, off, n int64) {
	var msg struct {
		fuse.OutHeader
		fuse.NotifyInvalInodeOut
	}
	size := unsafe.Sizeof(msg)
	msg.OutHeader = fuse.OutHeader{Length: uint32(size), Status: noticeOff}
	msg.NotifyInvalInodeOut = fuse.NotifyInvalInodeOut{Ino: id, Off: off, Length: n}
	unix.Write(x.fd, unsafe.Slice((*byte)(unsafe.Pointer(&msg)), size))
}

// dropName tells the kernel that a name of a directory is not what it remembers.
func (x *transport) dropName(dir uint64, name string) {
	var msg struct {
		fuse.OutHeader
		fuse.NotifyInvalEntryOut
	}
	size := int(unsafe.Sizeof(msg))
	msg.OutHeader = fuse.OutHeader{Length: uint32(size + len(name) + 1), Status: noticeName}
	msg.NotifyInvalEntryOut = fuse.NotifyInvalEntryOut{Parent: dir, NameLen: uint32(len(name))}
	p := append(unsafe.Slice((*byte)(unsafe.Pointer(&msg)), size), name...)
	unix.Write(x.fd, append(p, 0))
}
