package script

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"platter/integration/programs"
)

func TestScripts(t *testing.T) {
	platter := programs.NeedPlatter(t, "platter")
	programs.NeedPlatter(t, "qemu-img")
	bin := t.TempDir()
	if stock, err := programs.Stock("qemu-img"); err == nil {
		if err := wrap(filepath.Join(bin, "stock-qemu-img"), stock); err != nil {
			t.Fatal(err)
		}
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", strings.Join([]string{filepath.Dir(platter.Path), bin, env.Getenv("PATH")}, ":"))
			env.Setenv("LC_ALL", "C")
			return nil
		},
		Condition: condition,
	})
}

// wrap makes a program callable by name.
func wrap(path string, p programs.Program) error {
	script := fmt.Sprintf("#!/bin/sh\n%s exec %s \"$@\"\n", strings.Join(p.Env, " "), p.Path)
	return os.WriteFile(path, []byte(script), 0o755)
}

func condition(name string) (bool, error) {
	switch name {
	case "stock":
		_, err := programs.Stock("qemu-img")
		return err == nil, nil
	case "mount":
		_, err := os.Stat("/dev/fuse")
		_, lookErr := exec.LookPath("fusermount3")
		return err == nil && lookErr == nil, nil
	case "root":
		return os.Getuid() == 0, nil
	}
	return false, fmt.Errorf("unknown condition %q", name)
}
