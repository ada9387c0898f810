package mount

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// locks lists the bytes of a file that a process has locked, as QEMU numbers them.
func locks(t *testing.T, pid int, file string) string {
	t.Helper()
	want, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	fds, _ := filepath.Glob("/proc/" + itoa(pid) + "/fd/*")
	held := map[int]bool{}
	for _, fd := range fds {
		st, err := os.Stat(fd)
		if err != nil || !os.SameFile(st, want) {
			continue
		}
		b, _ := os.ReadFile(strings.Replace(fd, "/fd/", "/fdinfo/", 1))
		for _, line := range strings.Split(string(b), "\n") {
			f := strings.Fields(line)
			var from, to int
			if len(f) == 9 && f[0] == "lock:" && f[2] == "OFDLCK" {
				fmt.Sscan(f[7], &from)
				fmt.Sscan(f[8], &to)
				for ; from <= to; from++ {
					held[from] = true
				}
			}
		}
	}
	var list []int
	for n := range held {
		list = append(list, n)
	}
	sort.Ints(list)
	return strings.Trim(fmt.Sprint(list), "[]")
}

// A mount locks each layer as QEMU does: stock may read what is only read, and write nothing.
func TestLocksOfAChain(t *testing.T) {
	base := qcow2Image(t, "1M")
	io := stock(t, "qemu-io")
	top := filepath.Join(filepath.Dir(base), "top.qcow2")
	run(t, stock(t, "qemu-img"), "create", "-q", "-f", "qcow2", "-b", "disk.qcow2", "-F", "qcow2", top)
	const writer, reader = "100 101 103 201 203", "100 201 203"
	for _, c := range []struct {
		args  []string
		image string
		held  map[string]string
	}{
		{nil, top, map[string]string{top: writer, base: reader}},
		{[]string{"-r"}, top, map[string]string{top: reader, base: reader}},
		{[]string{"-o", "overlay"}, top, map[string]string{top: reader, base: reader}},
		{[]string{"-o", "overlay"}, base, map[string]string{base: reader}},
	} {
		mnt := mountAt(t, append(c.args, c.image)...)
		for file, want := range c.held {
			if got := locks(t, pid(t, mnt), file); got != want {
				t.Errorf("%v %s: bytes %s of %s are locked, want %s", c.args, filepath.Base(c.image), got, filepath.Base(file), want)
			}
			_, stderr, code := try(t, io, "-c", "write 0 64k", file)
			if code != 1 || !strings.Contains(stderr, `Failed to get "write" lock`) {
				t.Errorf("stock writes to %s: exit status %d, %q", filepath.Base(file), code, stderr)
			}
			if _, stderr, code := try(t, io, "-r", "-c", "read 0 64k", file); (code == 0) != (want == reader) {
				t.Errorf("stock reads %s: exit status %d, %q", filepath.Base(file), code, stderr)
			}
		}
		unmount(t, mnt)
		for file := range c.held {
			run(t, io, "-c", "read 0 64k", file)
		}
	}
}

// What fsync, fdatasync, O_SYNC, O_DSYNC or msync acknowledged is in the image although the daemon is killed right after.
func TestAcknowledgedIsThereAfterAKill(t *testing.T) {
	for _, way := range []string{"fsync", "fdatasync", "O_SYNC", "O_DSYNC", "msync", "partition", "dd conv=fsync"} {
		image := qcow2Image(t, "16M")
		mnt := mountAt(t, image)
		disk, flags := filepath.Join(mnt, "disk.raw"), os.O_RDWR
		off := int64(5 << 20)
		switch way {
		case "O_SYNC":
			flags |= unix.O_SYNC
		case "O_DSYNC":
			flags |= unix.O_DSYNC
		case "partition":
			need(t, "sfdisk")
			sh(t, `printf 'label: dos\nstart=2048\n' | sfdisk -q "$D"`, "D="+disk)
			disk, off = filepath.Join(mnt, "partitions", "p1.raw"), 4<<20
		}
		f, err := os.OpenFile(disk, flags, 0)
		if err != nil {
			t.Fatal(err)
		}
		data := bytes.Repeat([]byte{0x5a}, 1<<20)
		switch way {
		case "msync":
			var m []byte
			if m, err = unix.Mmap(int(f.Fd()), off, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err == nil {
				copy(m, data)
				err = unix.Msync(m, unix.MS_SYNC)
			}
		case "dd conv=fsync":
			sh(t, `tr '\0' Z < /dev/zero | head -c 1048576 | dd of="$F" bs=64k seek=80 conv=notrunc,fsync status=none || [ ${PIPESTATUS[2]} = 0 ]`, "F="+disk)
		default:
			_, err = f.WriteAt(data, off)
		}
		if err == nil && (way == "fsync" || way == "partition") {
			err = f.Sync()
		}
		if err == nil && way == "fdatasync" {
			err = unix.Fdatasync(int(f.Fd()))
		}
		if err != nil {
			t.Errorf("%s: %v", way, err)
		}
		daemon := pid(t, mnt)
		syscall.Kill(daemon, syscall.SIGKILL)
		waitGone(t, daemon)
		f.Close()
		run(t, platter, "unmount", mnt)
		if out, stderr, code := try(t, stock(t, "qemu-io"), "-c", "read -P 0x5a 5M 1M", image); code != 0 || strings.Contains(out, "verification failed") {
			t.Errorf("%s: %s%s", way, out, stderr)
		}
		if out, _, code := try(t, stock(t, "qemu-img"), "check", image); code != 0 && code != 3 {
			t.Errorf("%s: %s", way, out)
		}
	}
}

// On a host file system that fills up the writer gets ENOSPC, and after kill -9 everything is there that was
// acknowledged by fsync.
func TestFullHostLosesNothingThatWasSynced(t *testing.T) {
	full := tmpfs(t, "10m")
	image := filepath.Join(full, "disk.qcow2")
	run(t, stock(t, "qemu-img"), "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", image, "64M")
	mnt := mountAt(t, image)
	f, err := os.OpenFile(filepath.Join(mnt, "disk.raw"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 10000
	var synced uint64
	var failed error
	for n := uint64(1); n < 5000 && failed == nil; n++ {
		_, failed = f.WriteAt(bytes.Repeat(binary.LittleEndian.AppendUint64(nil, n), size/8), int64(n)*size)
		if failed == nil && n%16 == 0 {
			if failed = f.Sync(); failed == nil {
				synced = n
			}
		}
	}
	if !errors.Is(failed, syscall.ENOSPC) || synced < 100 {
		t.Errorf("%v after %d blocks, want ENOSPC", failed, synced)
	}
	if _, err := f.WriteAt([]byte("in place"), size); err != nil {
		t.Errorf("a write in place: %v", err)
	}
	daemon := pid(t, mnt)
	syscall.Kill(daemon, syscall.SIGKILL)
	waitGone(t, daemon)
	run(t, platter, "unmount", mnt)
	if out, _, code := try(t, stock(t, "qemu-img"), "check", image); code != 0 && code != 3 {
		t.Errorf("stock check: %s", tail(out))
	}
	raw := filepath.Join(t.TempDir(), "raw")
	run(t, stock(t, "qemu-img"), "convert", "-U", "-O", "raw", image, raw)
	b, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	for n := uint64(2); n <= synced; n++ {
		if got := binary.LittleEndian.Uint64(b[n*size+size-8:]); got != n {
			t.Fatalf("block %d has %d", n, got)
		}
	}
}

// A server below the image goes away: the writer is told, and unmount says by its exit status that the last flush failed.
func TestUnmountReportsAFailedFlush(t *testing.T) {
	dir := t.TempDir()
	raw, socket := filepath.Join(dir, "disk.raw"), filepath.Join(dir, "s")
	pattern(t, raw, 1)
	for _, end := range []string{"unmount", "SIGTERM"} {
		server := exec.Command(stock(t, "qemu-nbd"), "-t", "-f", "raw", "-k", socket, raw)
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "qemu-nbd", func() bool { _, err := os.Stat(socket); return err == nil })
		needFUSE(t)
		mnt := filepath.Join(t.TempDir(), "mnt")
		os.Mkdir(mnt, 0o755)
		daemon := exec.Command(platter, "mount", "-f", "-o", "format=raw,refs=any", "nbd+unix:///?socket="+socket, mnt)
		var said bytes.Buffer
		daemon.Stderr = &said
		if err := daemon.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { give(mnt); daemon.Process.Kill() })
		disk := filepath.Join(mnt, "disk.raw")
		waitFor(t, "the tree", func() bool { _, err := os.Stat(disk); return err == nil })
		f, err := os.OpenFile(disk, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte("lost")); err != nil {
			t.Error(err)
		}
		server.Process.Kill()
		server.Wait()
		os.Remove(socket)
		if err := f.Sync(); err == nil {
			t.Error("fsync succeeded")
		}
		if err := f.Sync(); err == nil {
			t.Error("the second fsync succeeded")
		}
		f.Close()
		if end == "unmount" {
			if _, stderr, code := try(t, platter, "unmount", mnt); code != 1 ||
				!strings.HasPrefix(stderr, "platter: Could not complete 'nbd+unix:///?socket="+socket+"': ") || !strings.Contains(stderr, "'"+mnt+"' is unmounted, and ") {
				t.Errorf("unmount: exit status %d, %q", code, stderr)
			}
		} else {
			daemon.Process.Signal(syscall.SIGTERM)
		}
		if err := daemon.Wait(); err == nil || said.Len() == 0 {
			t.Errorf("%s: the daemon ended with %v, %q", end, err, said.String())
		}
	}
}

// SIGUSR1 prints figures: on standard error in the foreground, into error_log of a daemon.
func TestFiguresOnSignal(t *testing.T) {
	image, mnt, disk := mountRaw(t, 1<<20)
	if err := os.WriteFile(disk, make([]byte, 1000), 0); err != nil {
		t.Fatal(err)
	}
	if out := run(t, platter, "list"); !strings.Contains(out, image+" on "+mnt+": format raw, pid "+itoa(pid(t, mnt))+", 1000 bytes dirty\n") {
		t.Errorf("list: %s", out)
	}
	syscall.Kill(pid(t, mnt), syscall.SIGUSR1)
	waitFor(t, "figures", func() bool { return strings.Contains(errorLog(t, mnt), `"write-bytes": 1000`) })
	if err := tell(mnt, "flush"); err != nil {
		t.Error(err)
	}
	if out := run(t, platter, "list", "--output=json"); !strings.Contains(out, `"dirty-bytes": 0`) {
		t.Errorf("list: %s", out)
	}
	unmount(t, mnt)
	cmd := exec.Command(platter, "mount", "-f", "-o", "format=raw", image, mnt)
	said, err := os.Create(filepath.Join(t.TempDir(), "said"))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the tree", func() bool { _, err := os.Stat(disk); return err == nil })
	cmd.Process.Signal(syscall.SIGUSR1)
	waitFor(t, "figures", func() bool {
		b, _ := os.ReadFile(said.Name())
		return strings.Contains(string(b), `"virtual-size": 1048576`)
	})
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// SIGUSR1 that comes while the image is still being opened is answered when the tree is there: the server behind the
// image greets only after the signal.
func TestFiguresAskedForEarly(t *testing.T) {
	needFUSE(t)
	dir := t.TempDir()
	raw, socket, slow := filepath.Join(dir, "disk.raw"), filepath.Join(dir, "s"), filepath.Join(dir, "slow")
	if err := os.WriteFile(raw, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	server := exec.Command(stock(t, "qemu-nbd"), "-t", "-f", "raw", "-k", socket, raw)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Process.Kill(); server.Wait() })
	waitFor(t, "qemu-nbd", func() bool { _, err := os.Stat(socket); return err == nil })
	l, err := net.Listen("unix", slow)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	mnt := filepath.Join(t.TempDir(), "mnt")
	os.Mkdir(mnt, 0o755)
	cmd := exec.Command(platter, "mount", "-f", "-o", "format=raw,refs=any", "nbd+unix:///?socket="+slow, mnt)
	said, err := os.Create(filepath.Join(dir, "said"))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { give(mnt); cmd.Process.Kill() })
	client, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	cmd.Process.Signal(syscall.SIGUSR1)
	behind, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer behind.Close()
	go io.Copy(client, behind)
	go io.Copy(behind, client)
	waitFor(t, "figures", func() bool {
		b, _ := os.ReadFile(said.Name())
		return strings.Contains(string(b), `"virtual-size": 1048576`)
	})
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// Writers at work when the mount ends, in each way that it can: unmount refuses while files are open, a lazy one lets
// them finish, a signal cuts them off. What was synced is there, and the image is sound.
func TestEndsUnderLoad(t *testing.T) {
	for _, way := range []string{"unmount", "unmount -l", "fusermount3 -uz", "SIGTERM", "SIGINT"} {
		image := qcow2Image(t, "64M", "-o", "lazy_refcounts=on")
		mnt := mountAt(t, image)
		daemon := pid(t, mnt)
		blocks := make([]block, 64<<20/crashBlock)
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for k := range 4 {
			part := blocks[k*len(blocks)/4 : (k+1)*len(blocks)/4]
			wg.Add(1)
			go func() {
				defer wg.Done()
				loadWriter(t, stop, filepath.Join(mnt, "disk.raw"), part, int64(k*len(blocks)/4))
			}()
		}
		waitFor(t, "writes", func() bool {
			var s struct {
				Writes int `json:"write-requests"`
			}
			readJSON(t, filepath.Join(mnt, "stats.json"), &s)
			return s.Writes > 200
		})
		switch way {
		case "unmount":
			if _, stderr, code := try(t, platter, "unmount", mnt); code != 1 || !strings.Contains(stderr, "busy") {
				t.Errorf("%s: exit status %d, %q", way, code, stderr)
			}
			close(stop)
			wg.Wait()
			unmount(t, mnt)
		case "unmount -l":
			run(t, platter, "unmount", "-l", mnt)
			close(stop)
			wg.Wait()
		case "fusermount3 -uz":
			need(t, "fusermount3")
			run(t, "fusermount3", "-uz", mnt)
			close(stop)
			wg.Wait()
		case "SIGTERM":
			syscall.Kill(daemon, syscall.SIGTERM)
			wg.Wait()
		case "SIGINT":
			syscall.Kill(daemon, syscall.SIGINT)
			wg.Wait()
		}
		waitGone(t, daemon)
		clean(t, image)
		if out := run(t, stock(t, "qemu-img"), "check", "--output=json", image); strings.Contains(out, "leaks") {
			t.Errorf("%s: %s", way, out)
		}
		head, _ := os.ReadFile(image)
		if len(head) < 80 || head[79]&1 != 0 {
			t.Errorf("%s: the dirty bit is set", way)
		}
		mnt = mountAt(t, "-r", image)
		verify(t, filepath.Join(mnt, "disk.raw"), blocks, 0)
		unmount(t, mnt)
	}
}

// loadWriter writes numbered blocks, with an fsync now and then, until it is told to stop or the mount is gone.
func loadWriter(t *testing.T, stop chan struct{}, disk string, blocks []block, first int64) {
	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		i := n * 7 % len(blocks)
		blocks[i].tried++
		b := bytes.Repeat(binary.LittleEndian.AppendUint64(nil, blocks[i].tried), crashBlock/8)
		if _, err := f.WriteAt(b, (first+int64(i))*crashBlock); err != nil {
			return
		}
		if n%64 == 63 {
			if f.Sync() != nil {
				return
			}
			for k := n - 63; k <= n; k++ {
				blocks[k*7%len(blocks)].synced = blocks[k*7%len(blocks)].tried
			}
		}
	}
}

// On a machine without fusermount3 root mounts and unmounts all the same; others are told what is missing.
func TestWithoutFusermount(t *testing.T) {
	as := nobody(t)
	need(t, "unshare", "mount")
	dir, err := os.MkdirTemp("", "without")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	image := filepath.Join(dir, "disk.raw")
	pattern(t, image, 1)
	for _, name := range []string{dir, image} {
		os.Chown(name, 65534, 65534)
	}
	script := `for f in /usr/bin/fusermount3 /bin/fusermount3 /usr/local/bin/fusermount3; do [ ! -e $f ] || mount --bind /dev/null $f; done
		mkdir "$D/m"; "$P" mount -o format=raw "$D/disk.raw" "$D/m"; cmp -n 1 "$D/disk.raw" "$D/m/disk.raw"; "$P" unmount "$D/m"; chown 65534 "$D/m"
		` + strings.Join(as, " ") + ` "$P" mount -o format=raw "$D/disk.raw" "$D/m"`
	cmd := exec.Command("unshare", "-m", "--propagation", "private", "bash", "-euo", "pipefail", "-c", script)
	cmd.Env = append(os.Environ(), "D="+dir, "P="+platter)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "needs fusermount3, which was not found (it is in the package fuse3)") {
		t.Errorf("%v: %s", err, out)
	}
}

// A daemon whose parent was killed before the tree answered does not stay behind a mount that nobody knows of.
func TestNobodyWaitsForTheDaemon(t *testing.T) {
	needFUSE(t)
	image, mnt := rawImage(t, 1<<20), t.TempDir()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	cmd := exec.Command(platter, "mount", "-o", "format=raw", image, mnt)
	cmd.Env, cmd.ExtraFiles = append(os.Environ(), "PLATTER_READY_FD=3"), []*os.File{w}
	out, err := cmd.CombinedOutput()
	w.Close()
	defer give(mnt)
	if err == nil || !strings.Contains(string(out), "asked for the mount is gone") {
		t.Errorf("%v: %s", err, out)
	}
	if b, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(b), " "+mnt+" ") {
		t.Errorf("still mounted (%v)", err)
	}
}
