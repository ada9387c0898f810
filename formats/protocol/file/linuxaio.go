package file

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"platter/formats/qerr"
)

// What requests and results of Linux AIO look like: linux/aio_abi.h.
const (
	iocbRead  = 0
	iocbWrite = 1
	iocbSync  = 3 // IOCB_CMD_FDSYNC
)

type iocb struct {
	data   uint64
	_, _   uint32 // key, which the kernel sets, and aio_rw_flags
	opcode uint16
	_      int16 // priority
	fd     uint32
	buf    uint64
	n      uint64
	off    int64
	_      uint64
	_, _   uint32 // flags, an eventfd
}

type ioEvent struct {
	data, obj uint64
	res, res2 int64
}

// linuxAIO is a queue of io_submit.
type linuxAIO struct {
	id       uintptr // aio_context_t
	requests []iocb  // by slot
	list     []*iocb
	events   []ioEvent
}

func setupAIO() (ring, error) {
	r := &linuxAIO{requests: make([]iocb, queueSlots), events: make([]ioEvent, queueSlots)}
	_, _, e := unix.Syscall(unix.SYS_IO_SETUP, queueSlots, uintptr(unsafe.Pointer(&r.id)), 0)
	if e != 0 {
		return nil, qerr.Errno(e, "Unable to use Linux AIO, falling back to thread pool: failed to create linux AIO context")
	}
	return r, nil
}

func (r *linuxAIO) submit(q *queue, batch []uint32) (int, error) {
	r.list = r.list[:0]
	for _, i := range batch {
		s := &q.slots[i]
		c := iocb{data: uint64(i), opcode: iocbRead, fd: uint32(q.fd), off: s.off, n: uint64(len(s.buf))}
		switch s.op {
		case opWrite:
			c.opcode = iocbWrite
		case opSync:
			c.opcode = iocbSync
		}
		if len(s.buf) > 0 {
			c.buf = uint64(uintptr(unsafe.Pointer(&s.buf[0])))
		}
		r.requests[i] = c
		r.list = append(r.list, &r.requests[i])
	}
	q.asked.Add(1)
	n, _, e := unix.Syscall(unix.SYS_IO_SUBMIT, r.id, uintptr(len(r.list)), uintptr(unsafe.Pointer(&r.list[0])))
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}

func (r *linuxAIO) reap(q *queue) (int, error) {
	n, _, e := unix.Syscall6(unix.SYS_IO_GETEVENTS, r.id, 1, uintptr(len(r.events)), uintptr(unsafe.Pointer(&r.events[0])), 0, 0)
	if e != 0 {
		return 0, e
	}
	for _, ev := range r.events[:n] {
		q.finish(uint32(ev.data), ev.res)
	}
	return int(n), nil
}

func (r *linuxAIO) destroy() {
	for {
		if _, _, e := unix.Syscall(unix.SYS_IO_DESTROY, r.id, 0, 0); e != syscall.EINTR {
			return
		}
	}
}
