package locks

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"platter/integration/programs"
	"platter/integration/twin"
)

const patience = 20 * time.Second

// output gathers what a program prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// hold starts a program that keeps images open and waits until ready says that it does. What it returns ends it.
func hold(s *twin.Side, cmd *exec.Cmd, ready func(out string) bool) (end func()) {
	s.Helper()
	var out output
	cmd.Stdout, cmd.Stderr = &out, &out
	var stdin io.WriteCloser
	if cmd.Stdin == nil {
		stdin, _ = cmd.StdinPipe()
	}
	if err := cmd.Start(); err != nil {
		s.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	end = sync.OnceFunc(func() {
		if stdin != nil {
			stdin.Close()
		}
		syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-ended
		}
	})
	s.Cleanup(end)
	for until := time.Now().Add(patience); !ready(out.String()); time.Sleep(3 * time.Millisecond) {
		select {
		case <-ended:
			s.Fatalf("%v ended: %s", cmd.Args, &out)
		default:
		}
		if time.Now().After(until) {
			s.Fatalf("%v is not ready: %s", cmd.Args, &out)
		}
	}
	return end
}

// qemuIO holds with stock qemu-io, which reads a byte and then waits for commands that never come.
func qemuIO(s *twin.Side, args ...string) (end func()) {
	s.Helper()
	cmd := programs.NeedStock(s, "qemu-io").Command(context.Background(), s.Dir, args...)
	// Its prompt is written when the image is open; there is no input to come.
	return hold(s, cmd, func(out string) bool { return strings.Contains(out, "qemu-io>") })
}

// qemuNBD holds with stock qemu-nbd.
func qemuNBD(s *twin.Side, args ...string) (end func()) {
	s.Helper()
	args = append([]string{"-t", "-k", s.Path("socket")}, args...)
	cmd := programs.NeedStock(s, "qemu-nbd").Command(context.Background(), s.Dir, args...)
	return hold(s, cmd, func(string) bool {
		_, err := os.Stat(s.Path("socket"))
		return err == nil
	})
}

// locked tells whether anybody has one of QEMU's lock bytes of a file.
func locked(s *twin.Side, name string) bool {
	var st syscall.Stat_t
	if syscall.Stat(s.Path(name), &st) != nil {
		return false
	}
	b, err := os.ReadFile("/proc/locks")
	if err != nil {
		s.Skip(err)
	}
	return strings.Contains(string(b), fmt.Sprintf(":%d 10", st.Ino)) || strings.Contains(string(b), fmt.Sprintf(":%d 20", st.Ino))
}
