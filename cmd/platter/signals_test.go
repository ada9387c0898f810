package main

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// TestMain lets a test run processes of its own: with PLATTER_TEST_ARGV0 the program itself, with PLATTER_TEST_LOCK one
// that locks an image.
func TestMain(m *testing.M) {
	if argv0 := os.Getenv("PLATTER_TEST_ARGV0"); argv0 != "" {
		os.Args[0] = argv0
		main()
	}
	if image := os.Getenv("PLATTER_TEST_LOCK"); image != "" {
		holdLock(image)
	}
	os.Exit(m.Run())
}

func TestSignalsCancel(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		ctx, stop := withSignals(context.Background())
		if err := syscall.Kill(os.Getpid(), sig); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Second):
			t.Errorf("%v did not cancel", sig)
		}
		stop()
	}
}

// TestReaderGoesAway writes to a pipe that nobody reads: as with stock, that is no reason to fail.
func TestReaderGoesAway(t *testing.T) {
	for _, argv0 := range []string{"qemu-img", "platter"} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		c := exec.Command(os.Args[0], "--help")
		c.Env = append(os.Environ(), "PLATTER_TEST_ARGV0="+argv0)
		c.Stdout = w
		if err := c.Run(); err != nil {
			t.Errorf("%s: %v", argv0, err)
		}
		w.Close()
	}
}
