package file

import (
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"platter/formats/qerr"
)

// What io_uring's memory looks like: linux/io_uring.h, io_uring_setup(2).
const (
	uringSync  = 3 // IORING_OP_FSYNC
	uringRead  = 22
	uringWrite = 23

	uringDatasync  = 1
	uringGetEvents = 1

	uringSubmissions = 0
	uringCompletions = 0x8000000
	uringEntries     = 0x10000000

	uringHasRead = 1 << 3 // IORING_FEAT_RW_CUR_POS came with the operations READ and WRITE, in Linux 5.6
)

type uringParams struct {
	sqEntries, cqEntries, flags, threadCPU, threadIdle, features, wqFD uint32
	_                                                                  [3]uint32
	sq                                                                 struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, cqes, flags, _ uint32
		_                                                   uint64
	}
}

type uringEntry struct {
	opcode, flags uint8
	priority      uint16
	fd            int32
	off           uint64
	addr          uint64
	n             uint32
	opFlags       uint32
	data          uint64
	_             [3]uint64
}

type uringResult struct {
	data  uint64
	res   int32
	flags uint32
}

// uring is a queue of io_uring. Its rings are memory that the kernel shares: the one writes a tail, the other a head.
type uring struct {
	fd             int
	sq, cq, memory []byte // mappings
	sqHead, sqTail *uint32
	cqHead, cqTail *uint32
	sqMask, cqMask uint32
	entries        []uringEntry
	results        []uringResult
}

func setupURing() (ring, error) {
	r, err := mapURing()
	if err != nil {
		return nil, qerr.Errno(qerr.Of(err), "Unable to use linux io_uring, falling back to thread pool: failed to init linux io_uring ring")
	}
	return r, nil
}

func mapURing() (*uring, error) {
	var p uringParams
	fd, _, e := unix.Syscall(unix.SYS_IO_URING_SETUP, queueSlots, uintptr(unsafe.Pointer(&p)), 0)
	if e != 0 {
		return nil, e
	}
	unix.CloseOnExec(int(fd))
	r := &uring{fd: int(fd)}
	if p.features&uringHasRead == 0 {
		r.destroy()
		return nil, syscall.ENOSYS
	}
	for _, m := range []struct {
		mem *[]byte
		at  int64
		n   uintptr
	}{
		{&r.sq, uringSubmissions, uintptr(p.sq.array) + uintptr(p.sqEntries)*4},
		{&r.cq, uringCompletions, uintptr(p.cq.cqes) + uintptr(p.cqEntries)*unsafe.Sizeof(uringResult{})},
		{&r.memory, uringEntries, uintptr(p.sqEntries) * unsafe.Sizeof(uringEntry{})},
	} {
		var err error
		*m.mem, err = unix.Mmap(r.fd, m.at, int(m.n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
		if err != nil {
			r.destroy()
			return nil, err
		}
	}
	word := func(ring []byte, at uint32) *uint32 { return (*uint32)(unsafe.Pointer(&ring[at])) }
	r.sqHead, r.sqTail, r.sqMask = word(r.sq, p.sq.head), word(r.sq, p.sq.tail), *word(r.sq, p.sq.mask)
	r.cqHead, r.cqTail, r.cqMask = word(r.cq, p.cq.head), word(r.cq, p.cq.tail), *word(r.cq, p.cq.mask)
	r.entries = unsafe.Slice((*uringEntry)(unsafe.Pointer(&r.memory[0])), p.sqEntries)
	r.results = unsafe.Slice((*uringResult)(unsafe.Pointer(&r.cq[p.cq.cqes])), p.cqEntries)
	order := unsafe.Slice(word(r.sq, p.sq.array), p.sqEntries)
	for i := range order {
		order[i] = uint32(i)
	}
	return r, nil
}

// submit puts the batch in the ring, which has room for all slots. What the kernel leaves is taken out again.
func (r *uring) submit(q *queue, batch []uint32) (int, error) {
	tail := *r.sqTail // nobody else writes it
	for _, i := range batch {
		s := &q.slots[i]
		e := uringEntry{opcode: uringRead, fd: int32(q.fd), off: uint64(s.off), n: uint32(len(s.buf)), data: uint64(i)}
		switch s.op {
		case opWrite:
			e.opcode = uringWrite
		case opSync:
			e.opcode, e.off, e.opFlags = uringSync, 0, uringDatasync
		}
		if len(s.buf) > 0 {
			e.addr = uint64(uintptr(unsafe.Pointer(&s.buf[0])))
		}
		r.entries[tail&r.sqMask] = e
		tail++
	}
	q.asked.Add(1)
	atomic.StoreUint32(r.sqTail, tail)
	_, _, e := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(len(batch)), 0, 0, 0, 0)
	left := tail - atomic.LoadUint32(r.sqHead)
	atomic.StoreUint32(r.sqTail, tail-left)
	if n := len(batch) - int(left); n > 0 {
		return n, nil
	}
	if e != 0 {
		return 0, e
	}
	return 0, nil
}

func (r *uring) reap(q *queue) (int, error) {
	if n := r.collect(q); n > 0 {
		return n, nil
	}
	_, _, e := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), 0, 1, uringGetEvents, 0, 0)
	n := r.collect(q)
	if n == 0 && e != 0 {
		return 0, e
	}
	return n, nil
}

// collect hands out the results that are there.
func (r *uring) collect(q *queue) int {
	head, tail := *r.cqHead, atomic.LoadUint32(r.cqTail)
	n := int(tail - head)
	for ; head != tail; head++ {
		c := r.results[head&r.cqMask]
		q.finish(uint32(c.data), int64(c.res))
	}
	atomic.StoreUint32(r.cqHead, tail)
	return n
}

func (r *uring) destroy() {
	for _, m := range [][]byte{r.sq, r.cq, r.memory} {
		if m != nil {
			_ = unix.Munmap(m)
		}
	}
	_ = unix.Close(r.fd)
}
