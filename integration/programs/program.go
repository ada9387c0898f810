package programs

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Program is an executable with the name and the environment it runs under.
type Program struct {
	Path string   // file that is executed
	Name string   // argv[0], which usage texts show
	Env  []string // in addition to the test's own environment
}

// Command prepares a run in folder dir. When ctx ends the program and its children are killed.
func (p Program) Command(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.Path, args...)
	cmd.Args[0] = p.Name
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Env = append(cmd.Env, p.Env...)
	// A group of its own, so that a program which forks (qemu-nbd, a mount) is ended as a whole.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 2 * time.Second
	return cmd
}
