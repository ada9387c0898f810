package fusefs

import (
	"bufio"
	"errors"
	"net"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

const listenerVariable = "PLATTER_TEST_LISTENER"

// TestNobodyWaitsForTheKilled: a daemon that was killed gives no answer, though its socket takes connections, which is so
// while the kernel holds one of its threads. Here the socket stays open because this process made it; a child, which ends
// then, listens to it.
func TestNobodyWaitsForTheKilled(t *testing.T) {
	if os.Getenv(listenerVariable) != "" {
		if err := unix.Listen(3, 1); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f, name := os.NewFile(uintptr(fd), "socket"), "@"+t.TempDir()
	defer f.Close()
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: name}); err != nil {
		t.Fatal(err)
	}
	child := exec.Command(os.Args[0], "-test.run=TestNobodyWaitsForTheKilled")
	child.Env, child.ExtraFiles = append(os.Environ(), listenerVariable+"=1"), []*os.File{f}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Wait()
	for !killed(int32(child.Process.Pid)) {
		continue
	}
	c, err := net.Dial("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if s, err := line(c, bufio.NewReader(c)); s != "" || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%q, %v", s, err)
	}
}
