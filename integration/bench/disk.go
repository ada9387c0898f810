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
	pid  int           // of the daemon behind it
	wait time.Duration // until it could be used
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
	return show(copied, filepath.Ext(name)[1:], dir)
}

// exportStock starts qemu-storage-daemon, which puts the disk over an existing file.
func (b *bench) exportStock(image, format, dir string) (disk, error) {
	daemon, err := programs.Stock("qemu-storage-daemon")
	if err != nil {
		return disk{}, err
	}
	point, pidFile := filepath.Join(dir, "export"), filepath.Join(dir, "pid")
	if err := os.WriteFile(point, nil, 0o644); err != nil {
		return disk{}, err
	}
	began := time.Now()
	err = started(daemon, dir, "--daemonize", "--pidfile", pidFile,
		"--blockdev", "driver=file,node-name=file,discard=unmap,filename="+image,
		"--blockdev", "driver="+format+",node-name=disk,discard=unmap,file=file",
		"--export", "type=fuse,id=export,node-name=disk,writable=on,mountpoint="+point)
	d := disk{path: point, wait: time.Since(began)}
	if err != nil {
		return d, err
	}
	text, err := os.ReadFile(pidFile)
	if err == nil {
		_, err = fmt.Sscan(string(text), &d.pid)
	}
	if err != nil {
		return d, err
	}
	d.end = func() error { return ends(d.pid) }
	fi, err := os.Stat(point)
	if err != nil {
		return d, err
	}
	d.size = fi.Size()
	return d, nil
}

// started runs a program that leaves a daemon behind. That keeps what it was given open: a pipe would never end.
func started(p programs.Program, dir string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := p.Command(ctx, dir, args...)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	return nil
}

// ends asks a daemon to end and waits until it has.
func ends(pid int) error {
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return err
	}
	for range 12000 {
		if syscall.Kill(pid, 0) != nil {
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	return fmt.Errorf("process %d does not end", pid)
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
	began := time.Now()
	err = started(platter, dir, "mount", "-o", options, image, point)
	d := disk{path: filepath.Join(point, "disk.raw"), wait: time.Since(began)}
	if err != nil {
		return d, err
	}
	d.end = func() error { return started(platter, dir, "unmount", point) }
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
