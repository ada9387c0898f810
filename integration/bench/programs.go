package main

import (
	"archive/tar"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// mounted is how long it takes until the disk can be used. What that costs the processors is not known of both: one of
// the daemons is a process that has done a part of it under another number.
func mounted(w *watch) error {
	w.wall = w.wait
	return nil
}

// mapped touches every page through a shared mapping.
func mapped(w *watch) error {
	fd, err := unix.Open(w.path, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED); err != nil {
		return err
	}
	p, err := unix.Mmap(fd, 0, int(w.size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	sum := byte(0)
	w.start()
	for k := 0; k < len(p); k += 4096 {
		sum += p[k]
	}
	w.stop()
	runtime.KeepAlive(sum) // or the compiler throws the loop away
	return unix.Munmap(p)
}

// copied is cp --sparse=always of the disk.
func copied(w *watch) error {
	// The copy goes to memory where there is room for it: how fast the disk below takes it is not what is measured.
	dir := "/dev/shm"
	if unix.Access(dir, unix.W_OK) != nil {
		dir = filepath.Dir(filepath.Dir(w.path))
	}
	out := filepath.Join(dir, fmt.Sprintf("platter-bench-%d.raw", os.Getpid()))
	defer os.Remove(out)
	fd, err := unix.Open(w.path, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	err = unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED)
	unix.Close(fd)
	if err != nil {
		return err
	}
	w.start()
	err = said(exec.Command("cp", "--sparse=always", w.path, out))
	w.stop()
	return err
}

// walked looks for all extents, as cp and tar do.
func walked(w *watch) error {
	fd, err := unix.Open(w.path, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	w.start()
	found := 0
	for off := int64(0); ; found++ {
		if off, err = unix.Seek(fd, off, unix.SEEK_DATA); err != nil {
			break
		}
		if off, err = unix.Seek(fd, off, unix.SEEK_HOLE); err != nil {
			break
		}
	}
	w.stop()
	if err == unix.ENXIO && found > 0 {
		return nil
	}
	return fmt.Errorf("%d extents: %w", found, err)
}

// unpacked makes a file system in the disk, mounts it through a loop device and unpacks an archive into it.
func unpacked(w *watch) error {
	return inLoop(w, func(dir, archive string) error {
		w.start()
		err := said(exec.Command("tar", "-xf", archive, "-C", dir))
		if err == nil {
			err = said(exec.Command("sync", "-f", dir))
		}
		w.stop()
		return err
	}, nil)
}

// packed reads such files again.
func packed(w *watch) error {
	return inLoop(w, func(dir, archive string) error { return said(exec.Command("tar", "-xf", archive, "-C", dir)) },
		func(dir string) error {
			cmd := exec.Command("tar", "-cf", "-", dir)
			cmd.Stdout = struct{ io.Writer }{io.Discard} // a pipe: to /dev/null tar would not read the files
			w.start()
			err := cmd.Run()
			w.stop()
			return err
		})
}

// inLoop calls first with a new file system in the disk, and then second with the same one mounted anew.
func inLoop(w *watch, first func(dir, archive string) error, second func(dir string) error) error {
	side := filepath.Dir(filepath.Dir(w.path))
	if filepath.Base(w.path) == "export" {
		side = filepath.Dir(w.path)
	}
	dir := filepath.Join(side, "loop")
	archive, err := archived(filepath.Dir(side), w.size)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := said(exec.Command("mke2fs", "-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=1", w.path)); err != nil {
		return err
	}
	err = inside(w.path, dir, func() error { return first(dir, archive) })
	if err != nil || second == nil {
		return err
	}
	fd, err := unix.Open(w.path, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	err = unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED)
	unix.Close(fd)
	if err != nil {
		return err
	}
	return inside(w.path, dir, func() error { return second(dir) })
}

func inside(path, dir string, f func() error) error {
	if err := said(exec.Command("mount", "-o", "loop", path, dir)); err != nil {
		return err
	}
	err := f()
	if e := said(exec.Command("umount", dir)); err == nil {
		err = e
	}
	return err
}

// archived gives an archive of some thousand files that take about a quarter of the disk.
func archived(dir string, size int64) (string, error) {
	name := filepath.Join(dir, "files.tar")
	if _, err := os.Stat(name); err == nil {
		return name, nil
	}
	f, err := os.Create(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	src := rand.NewChaCha8([32]byte{6})
	rnd, content := rand.New(src), words(src)
	t := tar.NewWriter(f)
	for k, sum := 0, int64(0); sum < size/4; k++ {
		n := int64(1) << (9 + rnd.IntN(9)) // 512 bytes to 128 KiB
		n += rnd.Int64N(n)
		sum += n
		h := tar.Header{Name: fmt.Sprintf("dir%d/file%d", k%50, k), Mode: 0o644, Size: n}
		if err := t.WriteHeader(&h); err != nil {
			return "", err
		}
		if _, err := io.CopyN(t, content, n); err != nil {
			return "", err
		}
	}
	return name, t.Close()
}

// said runs a program; the error has its words.
func said(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", cmd.Args[0], err, strings.TrimSpace(string(out)))
	}
	return nil
}
