package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxUsers is how many threads use a disk at once.
const maxUsers = 16

// transfer reads or writes blocks: the disk in order, or as many users as given at random places.
type transfer struct {
	flags int // of open(2)
	block int
	write bool
	cold  bool  // what the kernel keeps of the file is dropped before
	sync  bool  // fsync(2) is part of what is measured
	users int   // 0: in order
	count int   // accesses of each user
	part  int64 // only every so many'th part of the disk, from the beginning
}

func (t transfer) use(w *watch) error {
	fd, err := unix.Open(w.path, t.flags, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if t.write { // what earlier runs left behind is the disk's business
		unix.Sync()
	}
	if t.cold {
		if err := unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED); err != nil {
			return err
		}
	}
	users := max(t.users, 1)
	places := make([][]int64, users)
	for u := range users {
		places[u] = t.places(w.size, uint64(u))
	}
	if t.users > 0 && t.flags&direct == 0 { // reading ahead would fetch what nobody asked for
		if err := unix.Fadvise(fd, 0, 0, unix.FADV_RANDOM); err != nil {
			return err
		}
	}
	errs := make([]error, users+1)
	var ready, done sync.WaitGroup
	begin := make(chan struct{})
	for u := range users {
		ready.Add(1)
		done.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			p, err := unix.Mmap(-1, 0, t.block, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
			ready.Done()
			if err != nil {
				errs[u] = err
				return
			}
			defer unix.Munmap(p)
			_, _ = rand.NewChaCha8([32]byte{byte(u), 7}).Read(p)
			<-begin
			errs[u] = t.work(fd, p, places[u])
		})
	}
	ready.Wait()
	w.start()
	close(begin)
	done.Wait()
	if t.sync {
		errs[users] = unix.Fsync(fd)
	}
	w.stop()
	return errors.Join(errs...)
}

// places are the offsets that a user goes to, the same in every run.
func (t transfer) places(size int64, user uint64) []int64 {
	blocks := size / int64(t.block)
	if t.users == 0 {
		list := make([]int64, blocks/max(t.part, 1))
		for k := range list {
			list[k] = int64(k) * int64(t.block)
		}
		return list
	}
	rnd := rand.New(rand.NewPCG(user, 3))
	list := make([]int64, t.count)
	for k := range list {
		list[k] = rnd.Int64N(blocks) * int64(t.block)
	}
	return list
}

// work does the accesses with as little as possible around the system calls.
func (t transfer) work(fd int, p []byte, places []int64) error {
	call := uintptr(unix.SYS_PREAD64)
	if t.write {
		call = unix.SYS_PWRITE64
	}
	for _, off := range places {
		n, _, e := syscall.RawSyscall6(call, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), uintptr(off), 0, 0)
		if e != 0 {
			return e
		}
		if int(n) != len(p) {
			return fmt.Errorf("%d of %d bytes at %d", n, len(p), off)
		}
	}
	return nil
}
