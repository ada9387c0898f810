package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"platter/integration/programs"
)

// disk is a guest disk that one of the sides shows as a file.
type disk struct {
	path string // the file to read and write
	size int64
	pid  int // of the daemon behind it
	wait time.Duration
	end  func() error
}

// watch measures what lies between start and stop.
type watch struct {
	disk
	sample
	began time.Time
	used  time.Duration
}

func (w *watch) start() { w.used, w.began = w.cpuTime(), time.Now() }

func (w *watch) stop() { w.wall, w.cpu = time.Since(w.began), w.cpuTime()-w.used }

// cpuTime is what all threads of the daemon have used, through the clock that the kernel has for each process.
func (d disk) cpuTime() time.Duration {
	const schedClock = 2
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^d.pid)<<3|schedClock, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// shows mounts a copy of an image on one side.
type shows func(image, format, dir string) (disk, error)

// present mounts a fresh copy of an image.
func (b *bench) present(name, side string, show shows) (disk, error) {
	dir := filepath.Join(b.dir, side)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return disk{}, err
	}
	copied := filepath.Join(dir, name)
	if err := exec.Command("cp", filepath.Join(b.dir, name), copied).Run(); err != nil {
		return disk{}, err
	}
	for _, base := range []string{"full.qcow2", "chain1.qcow2", "chain2.qcow2"} {
		if name == "chain.qcow2" {
			_ = os.Remove(filepath.Join(dir, base))
			if err := os.Symlink(filepath.Join(b.dir, base), filepath.Join(dir, base)); err != nil {
				return disk{}, err
			}
		}
	}
	began := time.Now()
	d, err := show(copied, filepath.Ext(name)[1:], dir)
	d.wait = time.Since(began)
	return d, err
}

// exportStock starts qemu-storage-daemon, which puts the disk over an existing file.
func (b *bench) exportStock(image, format, dir string) (disk, error) {
	daemon, err := programs.Stock("qemu-storage-daemon")
	if err != nil {
		return disk{}, err
	}
	point := filepath.Join(dir, "export")
	if err := os.WriteFile(point, nil, 0o644); err != nil {
		return disk{}, err
	}
	cmd := daemon.Command(context.Background(), dir,
		"--blockdev", "driver=file,node-name=file,discard=unmap,filename="+image,
		"--blockdev", "driver="+format+",node-name=disk,discard=unmap,file=file",
		"--export", "type=fuse,id=export,node-name=disk,writable=on,mountpoint="+point)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return disk{}, err
	}
	end := func() error {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		return cmd.Wait()
	}
	for range 5000 {
		if fi, err := os.Stat(point); err == nil && fi.Size() > 0 {
			return disk{path: point, size: fi.Size(), pid: cmd.Process.Pid, end: end}, nil
		}
		time.Sleep(time.Millisecond)
	}
	_ = end()
	return disk{}, fmt.Errorf("qemu-storage-daemon did not show %s", image)
}

func (b *bench) mountPlatter(image, format, dir string) (disk, error) {
	return b.mountWith("format="+format, image, dir)
}

func (b *bench) mountReadOnly(image, format, dir string) (disk, error) {
	return b.mountWith("ro,format="+format, image, dir)
}

func (b *bench) mountWith(options, image, dir string) (disk, error) {
	platter, err := programs.Platter("platter")
	if err != nil {
		return disk{}, err
	}
	point := filepath.Join(dir, "mnt")
	if err := os.MkdirAll(point, 0o755); err != nil {
		return disk{}, err
	}
	call := func(args ...string) error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		cmd := platter.Command(ctx, dir, args...)
		// The daemon that mount leaves behind keeps what it was given open: a pipe would never end.
		cmd.Stderr = os.Stderr
		return cmd.Run()
	}
	if err := call("mount", "-o", options, image, point); err != nil {
		return disk{}, fmt.Errorf("platter mount: %w", err)
	}
	d := disk{path: filepath.Join(point, "disk.raw"), end: func() error { return call("unmount", point) }}
	var figures struct {
		PID  int   `json:"pid"`
		Size int64 `json:"virtual-size"`
	}
	text, err := os.ReadFile(filepath.Join(point, "stats.json"))
	if err == nil {
		err = json.Unmarshal(text, &figures)
	}
	d.pid, d.size = figures.PID, figures.Size
	return d, err
}
