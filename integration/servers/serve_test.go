package servers

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"platter/integration/programs"
	"platter/integration/twin"
)

// serve starts a server in a side's folder and waits until it takes connections; it ends with
// the side, or, by SIGKILL, when end is called.
func serve(s *twin.Side, p programs.Program, network, address string, args ...string) (end func()) {
	s.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := p.Command(ctx, s.Dir, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		s.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	end = func() { cancel(); <-ended }
	s.Cleanup(end)
	if network == "unix" {
		address = s.Path(address)
	}
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		select {
		case <-ended:
			s.Fatalf("%s %q ended: %s", p.Path, args, &out)
		default:
		}
		if network == "unix" {
			// A connection would be one of the client's, which a server that serves only one misses.
			if st, err := os.Stat(address); err == nil && st.Mode()&os.ModeSocket != 0 {
				return end
			}
		} else if c, err := net.Dial(network, address); err == nil {
			c.Close()
			return end
		}
	}
	s.Fatalf("%s %q does not listen", p.Path, args)
	return nil
}

// nbdkit serves on the Unix socket "s" of the side's folder.
func nbdkit(s *twin.Side, args ...string) (end func()) {
	s.Helper()
	return serve(s, need(s.T, "nbdkit"), "unix", "s", append([]string{"-f", "-U", "s"}, args...)...)
}

// qemuNBD serves on the Unix socket "s" of the side's folder.
func qemuNBD(s *twin.Side, args ...string) (end func()) {
	s.Helper()
	return serve(s, programs.NeedStock(s, "qemu-nbd"), "unix", "s", append([]string{"-k", s.Path("s"), "-t"}, args...)...)
}

// need finds a program of the machine, or skips.
func need(t *testing.T, name string) programs.Program {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path = filepath.Join("/usr/sbin", name)
		if _, err := os.Stat(path); err != nil {
			t.Skipf("%s is not installed", name)
		}
	}
	return programs.Program{Path: path, Name: name}
}

// freePort is a TCP port of this machine that was free a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// noise is n bytes that are the same in each run.
func noise(n int) []byte {
	p, rng := make([]byte, n), rand.New(rand.NewPCG(4, 2))
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
	return p
}

func replace(line, what, by string) string { return strings.ReplaceAll(line, what, by) }
