package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"

	"platter/integration/programs"
)

// answer is what a command printed and how it ended.
type answer struct {
	stdout, stderr string
	code           int
}

// oracle gives the path of stock qemu-img, or skips the test.
func oracle(t *testing.T) string {
	t.Helper()
	return programs.StockPath(t, "qemu-img")
}

// ask runs stock qemu-img in dir.
func ask(t *testing.T, path, dir string, environ []string, args ...string) answer {
	t.Helper()
	var out, errs bytes.Buffer
	c := exec.Command(path, args...)
	c.Dir, c.Stdout, c.Stderr = dir, &out, &errs
	c.Env = append(os.Environ(), environ...)
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return answer{out.String(), errs.String(), c.ProcessState.ExitCode()}
}

// testEnv is an env that keeps what is printed.
func testEnv(argv0 string, environ map[string]string) (e *env, out, errs *bytes.Buffer) {
	out, errs = &bytes.Buffer{}, &bytes.Buffer{}
	e = newEnv(argv0)
	e.version = "1.2.3"
	e.stdin, e.stdout, e.stderr = bytes.NewReader(nil), out, errs
	e.getenv = func(name string) (string, bool) { v, ok := environ[name]; return v, ok }
	return e, out, errs
}

// platter runs a whole command line in this process.
func platter(argv0 string, args ...string) answer {
	e, out, errs := testEnv(argv0, nil)
	code := e.main(context.Background(), args)
	return answer{out.String(), errs.String(), code}
}
