package main

import (
	"os"
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
//
// What starts twice has to start quickly: fork and exec without the library's bookkeeping, which tries first what the
// kernel can do, and signals are caught while the daemon starts. Of one that ends this process before, and of SIGKILL,
// the daemon learns when it reports.
func (e *env) daemonise() int {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		e.report("%v", err)
		return 1
	}
	// A daemon through which the kernel writes pages must not wait for such pages when it needs memory. The flag is
	// inherited by what this thread starts; without the privilege the daemon does without.
	runtime.LockOSThread()
	unix.Prctl(unix.PR_SET_IO_FLUSHER, 1, 0, 0, 0)
	pid, err := syscall.ForkExec("/proc/self/exe", os.Args, &syscall.ProcAttr{
		Env:   append(os.Environ(), readyVariable+"=3"),
		Files: []uintptr{0, 1, 2, uintptr(pipe[1])},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		e.report("Could not start the daemon: %v", err)
		return 1
	}
	unix.Prctl(unix.PR_SET_IO_FLUSHER, 0, 0, 0, 0)
	runtime.UnlockOSThread()
	unix.Close(pipe[1])
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		for s := range caught {
			unix.Kill(pid, s.(syscall.Signal))
		}
	}()
	var word [1]byte
	if n, _ := again(func() (int, error) { return unix.Read(pipe[0], word[:]) }); n == 1 {
		return 0
	}
	var status unix.WaitStatus
	if _, err := again(func() (int, error) { return unix.Wait4(pid, &status, 0, nil) }); err != nil {
		e.report("the daemon ended: %v", err)
		return 1
	}
	switch {
	case status.Signaled():
		e.report("the daemon ended: %v", status.Signal())
	case status.ExitStatus() > 0:
		return status.ExitStatus()
	}
	return 1
}

// again repeats a call that a signal interrupted.
func again(call func() (int, error)) (n int, err error) {
	for {
		if n, err = call(); err != unix.EINTR {
			return n, err
		}
	}
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

// ready tells who waits that the tree answers, and lets go of the terminal. It reports false if nobody waits any more.
func ready(fd int) bool {
	_, err := unix.Write(fd, []byte{1})
	unix.Close(fd)
	if err != nil {
		return false
	}
	null, err := unix.Open("/dev/null", unix.O_RDWR, 0)
	if err != nil {
		return true
	}
	for std := 0; std <= 2; std++ {
		unix.Dup3(null, std, 0)
	}
	unix.Close(null)
	return true
}
