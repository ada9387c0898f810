package main

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// readyVariable tells a process that it is the daemon, and over which descriptor it reports that the tree answers.
const readyVariable = "PLATTER_READY_FD"

// daemonise starts this program again with the same arguments as a daemon, and returns its exit status, or 0 as soon as
// it reports that it is ready. Until then the daemon shares standard output and standard error, so that what it has to
// say is said here.
func (e *env) daemonise() int {
	r, w, err := os.Pipe()
	if err != nil {
		e.report("%v", err)
		return 1
	}
	defer r.Close()
	// A daemon through which the kernel writes pages must not wait for such pages when it needs memory. The flag is
	// inherited by what this thread starts; without the privilege the daemon does without.
	runtime.LockOSThread()
	unix.Prctl(unix.PR_SET_IO_FLUSHER, 1, 0, 0, 0)
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), readyVariable+"=3")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	if err := cmd.Start(); err != nil {
		e.report("%v", err)
		return 1
	}
	unix.Prctl(unix.PR_SET_IO_FLUSHER, 0, 0, 0, 0)
	runtime.UnlockOSThread()
	w.Close()
	go func() {
		for s := range caught {
			cmd.Process.Signal(s)
		}
	}()
	var word [1]byte
	if n, _ := r.Read(word[:]); n == 1 {
		return 0
	}
	var exit *exec.ExitError
	switch err := cmd.Wait(); {
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return exit.ExitCode()
	case err != nil:
		e.report("the daemon ended: %v", err)
	}
	return 1
}

// nameProcess gives the daemon, which was started through a link of /proc, the program's name in lists of processes.
func (e *env) nameProcess() { os.WriteFile("/proc/self/comm", []byte(e.program), 0) }

// readyFD is the descriptor for reporting, -1 in a process that is no daemon.
func (e *env) readyFD() int {
	s, ok := e.getenv(readyVariable)
	fd, err := strconv.Atoi(s)
	if !ok || err != nil {
		return -1
	}
	unix.CloseOnExec(fd)
	return fd
}

// ready tells who waits that the tree answers, and lets go of the terminal.
func ready(fd int) {
	unix.Write(fd, []byte{1})
	unix.Close(fd)
	null, err := unix.Open("/dev/null", unix.O_RDWR, 0)
	if err != nil {
		return
	}
	for std := 0; std <= 2; std++ {
		unix.Dup3(null, std, 0)
	}
	unix.Close(null)
}
