package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"platter/integration/programs"
)

// disk is a guest disk that one of the sides shows as a file.
type disk struct {
	path string // the file to read and write
	end  func() error
}

// mounts measures the mount against the FUSE export of qemu-storage-daemon.
func (b *bench) mounts(stop <-chan os.Signal) error {
	if _, err := os.Stat("/dev/fuse"); err != nil {
		fmt.Println("\nno /dev/fuse: the mount is not measured")
		return nil
	}
	for _, image := range []string{"disk.qcow2", "blank.qcow2"} {
		if err := b.mountPair(image, stop); err != nil {
			return err
		}
	}
	return nil
}

// mountPair mounts a copy of an image on each side and runs the workloads that belong to it.
func (b *bench) mountPair(image string, stop <-chan os.Signal) error {
	if image == "blank.qcow2" {
		if err := b.call(b.stock, fmt.Sprintf("create -q -f qcow2 blank.qcow2 %d", b.size)); err != nil {
			return err
		}
	}
	var disks [2]disk
	for i, mount := range []func(image, dir string) (disk, error){b.exportStock, b.mountPlatter} {
		dir := filepath.Join(b.dir, fmt.Sprintf("side%d", i))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := exec.Command("cp", filepath.Join(b.dir, image), filepath.Join(dir, image)).Run(); err != nil {
			return err
		}
		d, err := mount(filepath.Join(dir, image), dir)
		if err != nil {
			fmt.Printf("mount of %s: %v\n", image, err)
			return nil
		}
		defer func() {
			if err := d.end(); err != nil {
				fmt.Printf("unmount of %s: %v\n", image, err)
			}
		}()
		disks[i] = d
	}
	for _, w := range workloads {
		if w.blank != (image == "blank.qcow2") {
			continue
		}
		err := b.compare(w.name, [2]side{
			{"stock", func() (time.Duration, error) { return w.measure(disks[0].path, b.size) }},
			{"platter", func() (time.Duration, error) { return w.measure(disks[1].path, b.size) }},
		}, stop)
		if err != nil {
			return err
		}
	}
	return nil
}

// exportStock starts qemu-storage-daemon, which puts the disk over an existing file.
func (b *bench) exportStock(image, dir string) (disk, error) {
	daemon, err := programs.Stock("qemu-storage-daemon")
	if err != nil {
		return disk{}, err
	}
	point := filepath.Join(dir, "export")
	if err := os.WriteFile(point, nil, 0o644); err != nil {
		return disk{}, err
	}
	cmd := daemon.Command(context.Background(), dir,
		"--blockdev", "driver=file,node-name=file,filename="+image,
		"--blockdev", "driver=qcow2,node-name=disk,file=file",
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
	for range 100 {
		if fi, err := os.Stat(point); err == nil && fi.Size() == b.size {
			return disk{point, end}, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	_ = end()
	return disk{}, fmt.Errorf("qemu-storage-daemon did not show %s", image)
}

func (b *bench) mountPlatter(image, dir string) (disk, error) {
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
	if err := call("mount", image, point); err != nil {
		return disk{}, fmt.Errorf("platter mount: %w", err)
	}
	return disk{filepath.Join(point, "disk.raw"), func() error { return call("unmount", point) }}, nil
}
