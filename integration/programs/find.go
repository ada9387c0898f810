package programs

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Version is the release of the stock tools that everything is compared with.
const Version = "10.0.2"

// start is the working folder, which under go test is the package's until a test changes it.
var start, _ = os.Getwd()

// Root is the folder of go.mod, found upwards from the working folder in which the program began.
var Root = sync.OnceValue(func() string {
	for d := start; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			return d
		}
		if d == filepath.Dir(d) {
			panic("no go.mod above " + start)
		}
	}
})

// stockDir is the folder that make oracle fills.
func stockDir() string {
	if dir := os.Getenv("PLATTER_ORACLE"); dir != "" {
		return dir
	}
	return filepath.Join(Root(), ".cache", "oracle")
}

// Stock gives one of the oracle's tools: qemu-img, qemu-io, qemu-nbd, qemu-storage-daemon. The error says what to do
// when it is not there.
func Stock(tool string) (Program, error) {
	dir := stockDir()
	// The wrapper is for people; running the binary itself saves a shell for each of thousands of runs.
	p := Program{Path: filepath.Join(dir, "root", "usr", "bin", tool), Name: tool}
	if _, err := os.Stat(p.Path); err == nil {
		libs, _ := filepath.Glob(filepath.Join(dir, "root", "usr", "lib", "*-linux-gnu"))
		more, _ := filepath.Glob(filepath.Join(dir, "root", "lib", "*-linux-gnu"))
		p.Env = []string{"LD_LIBRARY_PATH=" + strings.Join(append(libs, more...), ":")}
		if len(libs) > 0 {
			p.Env = append(p.Env, "QEMU_MODULE_DIR="+filepath.Join(libs[0], "qemu"))
		}
		return p, nil
	}
	p.Path = filepath.Join(dir, "bin", tool)
	if _, err := os.Stat(p.Path); err != nil {
		return p, fmt.Errorf("no stock %s %s in %s: make oracle", tool, Version, dir)
	}
	return p, nil
}

// NeedStock is Stock for a test, which is skipped when the tool is not there.
func NeedStock(t testing.TB, tool string) Program {
	t.Helper()
	p, err := Stock(tool)
	if err != nil {
		t.Skip(err)
	}
	return p
}

// Platter gives the module's own program to be called as name ("platter", "qemu-img"), or the one that
// PLATTER_TEST_BIN names. It is built on first use.
func Platter(name string) (Program, error) {
	if bin := os.Getenv("PLATTER_TEST_BIN"); bin != "" {
		_, err := os.Stat(bin)
		return Program{Path: bin, Name: name}, err
	}
	bin, err := build()
	if err != nil {
		return Program{}, err
	}
	if name == filepath.Base(bin) {
		return Program{Path: bin, Name: name}, nil
	}
	link := filepath.Join(filepath.Dir(bin), name)
	if err := os.Symlink(filepath.Base(bin), link); err != nil && !os.IsExist(err) {
		return Program{}, err
	}
	return Program{Path: link, Name: name}, nil
}

// NeedPlatter is Platter for a test, which fails when the program cannot be built.
func NeedPlatter(t testing.TB, name string) Program {
	t.Helper()
	p, err := Platter(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// build makes .cache/test/platter. Test processes run side by side, so a lock is held; when the sources did not change
// the go command leaves the file as it is.
var build = sync.OnceValues(func() (string, error) {
	if err := watchSources(); err != nil {
		return "", err
	}
	dir := filepath.Join(Root(), ".cache", "test")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "platter")
	cmd := exec.CommandContext(context.Background(), "go", "build", "-trimpath", "-tags", "urfave_cli_no_docs", "-ldflags", "-s -w", "-o", bin, "./cmd/platter")
	cmd.Dir = Root()
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/platter: %w\n%s", err, out)
	}
	return bin, nil
})

// watchSources looks at every source file of the program. The go command keeps the results of tests whose inputs did
// not change, and knows of those files only that a test itself touches.
func watchSources() error {
	for _, top := range []string{"cmd", "fusefs", "tools", "chain", "formats"} {
		err := filepath.WalkDir(filepath.Join(Root(), top), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				_, err = os.Stat(path)
			}
			return err
		})
		if err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}

// StockPath gives the path under which one of the oracle's tools runs as it is, without an environment of its own; the
// test is skipped when it is not there.
func StockPath(t testing.TB, tool string) string {
	t.Helper()
	if _, err := Stock(tool); err != nil {
		t.Skip(err)
	}
	return filepath.Join(stockDir(), "bin", tool)
}
