package main

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// access is a way to use a mounted disk; measure gives the time that the whole of it takes.
type access struct {
	name    string
	blank   bool // on an image without any cluster, else on one with data
	measure func(path string, size int64) (time.Duration, error)
}

var workloads = []access{
	{"mount: read 1 MiB blocks, cold", false, func(p string, n int64) (time.Duration, error) { return sequential(p, n, false, true) }},
	{"mount: read 1 MiB blocks, again", false, func(p string, n int64) (time.Duration, error) { return sequential(p, n, false, false) }},
	{"mount: random 4 KiB reads, 1 reader", false, func(p string, n int64) (time.Duration, error) { return random(p, n, 1, 4000, false) }},
	{"mount: random 4 KiB reads, 8 readers", false, func(p string, n int64) (time.Duration, error) { return random(p, n, 8, 2000, false) }},
	{"mount: write 1 MiB blocks, new", true, func(p string, n int64) (time.Duration, error) { return sequential(p, n, true, true) }},
	{"mount: overwrite 1 MiB blocks", false, func(p string, n int64) (time.Duration, error) { return sequential(p, n, true, true) }},
	{"mount: random 4 KiB writes, 1 writer", false, func(p string, n int64) (time.Duration, error) { return random(p, n, 1, 2000, true) }},
	{"mount: random 4 KiB writes, 8 writers", false, func(p string, n int64) (time.Duration, error) { return random(p, n, 8, 1000, true) }},
}

// open gives the disk, with nothing of it in the page cache when cold is set.
func open(path string, cold bool) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if cold {
		if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return f, nil
}

// sequential goes through the disk once; writes end with fsync.
func sequential(path string, size int64, write, cold bool) (time.Duration, error) {
	f, err := open(path, cold)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	p := make([]byte, 1<<20)
	_, _ = io.ReadFull(rand.NewChaCha8([32]byte{2}), p)
	start := time.Now()
	for off := int64(0); off < size; off += int64(len(p)) {
		if write {
			_, err = f.WriteAt(p, off)
		} else {
			_, err = f.ReadAt(p, off)
		}
		if err != nil {
			return 0, err
		}
	}
	if write {
		err = f.Sync()
	}
	return time.Since(start), err
}

// random lets users make each count accesses of 4 KiB at places that are the same in every run.
func random(path string, size int64, users, count int, write bool) (time.Duration, error) {
	f, err := open(path, true)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	// Reading ahead would fetch what nobody asked for.
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM); err != nil {
		return 0, err
	}
	errs := make([]error, users)
	var wg sync.WaitGroup
	start := time.Now()
	for u := range users {
		wg.Go(func() { errs[u] = user(f, size, uint64(u), count, write) })
	}
	wg.Wait()
	if write {
		errs = append(errs, f.Sync())
	}
	return time.Since(start), errors.Join(errs...)
}

func user(f *os.File, size int64, seed uint64, count int, write bool) error {
	places := rand.New(rand.NewPCG(seed, 3))
	p := make([]byte, 4096)
	for range count {
		off := places.Int64N(size/4096) * 4096
		var err error
		if write {
			_, err = f.WriteAt(p, off)
		} else {
			_, err = f.ReadAt(p, off)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
