package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"platter/cmd/platter/internal/manual"
	"platter/cmd/platter/internal/verb"
)

func TestDidYouMean(t *testing.T) {
	for line, want := range map[string]string{
		"creat x":              "platter: Command not found: creat\nDid you mean 'create'?\nTry 'platter --help' for more info\n",
		"muont x":              "platter: Command not found: muont\nDid you mean 'mount'?\nTry 'platter --help' for more info\n",
		"frobnicate x":         "platter: Command not found: frobnicate\nTry 'platter --help' for more info\n",
		"create --fromat=x a":  "platter create: unrecognized option '--fromat=x'\nDid you mean '--format'?\nTry 'platter create --help' for more info\n",
		"convert --progres=1":  "platter convert: option '--progress' doesn't allow an argument\nTry 'platter convert --help' for more info\n",
		"info --backingchain":  "platter info: unrecognized option '--backingchain'\nDid you mean '--backing-chain'?\nTry 'platter info --help' for more info\n",
		"unmount --nonsense x": "platter unmount: unrecognized option '--nonsense'\nTry 'platter unmount --help' for more info\n",
	} {
		if got := platter("/usr/local/bin/platter", strings.Fields(line)...); got.stderr != want || got.code != 1 || got.stdout != "" {
			t.Errorf("%s:\n got %+v\nwant %q", line, got, want)
		}
	}
	if got := platter("qemu-img", "creat"); strings.Contains(got.stderr, "mean") {
		t.Errorf("qemu-img makes suggestions: %+v", got)
	}
}

// TestOwnSpellings has options that stock's help shows without accepting them.
func TestOwnSpellings(t *testing.T) {
	for _, line := range []string{
		"convert --progress --compress --no-create --target-format raw --source-snapshot s --target-cache none a b",
		"bitmap --add --format raw a b", "bench --quiet a", "snapshot --create=s a", "snapshot --apply s a",
	} {
		e, _, errs := testEnv("platter", nil)
		args := strings.Fields(line)
		if _, err := e.parse(args[0], args[1:]); err != nil {
			t.Errorf("platter %s: %s", line, errs)
		}
		e, _, _ = testEnv("qemu-img", nil)
		if _, err := e.parse(args[0], args[1:]); err == nil {
			t.Errorf("qemu-img %s is accepted", line)
		}
	}
}

func TestOwnVerbs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man")
	if got := platter("platter", "gen-man", dir); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	pages, err := os.ReadDir(dir)
	if err != nil || len(pages) != len(manual.Pages("")) {
		t.Errorf("%d pages, %v", len(pages), err)
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if got := platter("platter", "completion", shell); got.code != 0 || !strings.Contains(got.stdout, "complete "+shell) {
			t.Errorf("%+v", got)
		}
	}
	if got := platter("platter", "completion", "tcsh"); got.code != 1 || !strings.Contains(got.stderr, "bash, zsh or fish") {
		t.Errorf("%+v", got)
	}
	if got := platter("platter", "complete", "zsh", "create", "-f", "ra"); got.stdout != "words\nraw\t\n" {
		t.Errorf("%+v", got)
	}
	if got := platter("platter", "version"); got.stdout != "platter version 1.2.3\n" || got.code != 0 {
		t.Errorf("%+v", got)
	}
	for line, want := range map[string]string{
		"list x": "Expecting no operands, not 'x'", "list --output=xml": "'human' or 'json' not 'xml'", "version x": "Expecting no operands, not 'x'",
		"help create x": "Expecting one command, not also 'x'", "unmount": "Expecting one mount point", "mount x": "Expecting an image and a mount point",
	} {
		if got := platter("platter", strings.Fields(line)...); got.code != 1 || got.stdout != "" || !strings.Contains(got.stderr, want) ||
			!strings.Contains(got.stderr, "Try 'platter "+strings.Fields(line)[0]+" --help'") {
			t.Errorf("%s: %+v", line, got)
		}
	}
	if got := platter("platter", "--help"); !strings.Contains(got.stdout, "\n  mount - ") || strings.Contains(got.stdout, "gen-man") {
		t.Errorf("%+v", got)
	}
}

// TestNamesCannotSteerTheTerminal has names with control characters, in messages and in results; as qemu-img they are
// printed as they are.
func TestNamesCannotSteerTheTerminal(t *testing.T) {
	for text, want := range map[string]string{
		"plain ü €": "plain ü €", "a\x1b[31mb": `a\x1b[31mb`, "a\u009bb": `a\xc2\x9bb`, "a\x9b\xfc": "a\\x9b\xfc", "\a\r\x7f": `\x07\x0d\x7f`, "a\nb\tc": "a\nb\tc",
	} {
		if got := visible(text, "\n\t"); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
	t.Chdir(t.TempDir())
	name := "\x1b[2Jx"
	for _, args := range [][]string{{"create", "-f", "qcow2", name, "1M"}, {"snapshot", "-c", name, name}, {"info", name}, {"map", name},
		{"snapshot", "-l", name}, {"create", name + "/x", "1"}, {"resize", name, name}, {"info", "--x" + name}, {"--" + name}} {
		got := platter("platter", args...)
		if strings.Contains(got.stdout+got.stderr, "\x1b") || args[0] == "info" && !strings.Contains(got.stdout+got.stderr, `\x1b[2Jx`) {
			t.Errorf("%q: %+v", args, got)
		}
		if got := platter("qemu-img", args...); args[0] == "info" && !strings.Contains(got.stdout+got.stderr, name) {
			t.Errorf("qemu-img %q: %+v", args, got)
		}
	}
}

func TestEveryVerbIsDispatched(t *testing.T) {
	for _, v := range verb.All() {
		if parsers[v.Name] == nil {
			t.Errorf("%s has a table and no parser", v.Name)
		}
	}
	for _, v := range verb.Own() {
		if ownActions[v.Name] == nil {
			t.Errorf("%s has a table and no action", v.Name)
		}
	}
	if len(parsers) != len(verb.All()) || !slices.IsSortedFunc(verb.All(), func(a, b *verb.Verb) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("the verbs of qemu-img are not those of the tables")
	}
}

// TestLockHints lets a child of this process hold an image, as QEMU holds it.
func TestLockHints(t *testing.T) {
	image := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(image, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "PLATTER_TEST_LOCK="+image)
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { c.Process.Kill(); c.Wait() }()
	if n, err := out.Read(make([]byte, 1)); n != 1 {
		t.Fatal(err)
	}
	got := platter("platter", "resize", "-f", "raw", image, "1M")
	want := regexp.MustCompile(`^platter: Could not open '.*': Failed to get .* lock
Is another process using the image \[.*\]\?
It is held by \S+ \(process ` + strconv.Itoa(c.Process.Pid) + `\)\.
$`)
	if !want.MatchString(got.stderr) {
		t.Errorf("%+v", got)
	}
	e, _, errs := testEnv("platter", nil)
	e.verb = verb.Find("info")
	if e.lockHints(image); !strings.Contains(errs.String(), "\nWith -U (--force-share) it is read") {
		t.Error(errs)
	}
	if stock := platter("qemu-img", "resize", "-f", "raw", image, "1M"); strings.Contains(stock.stderr, "held by") {
		t.Errorf("%+v", stock)
	}
}

// holdLock locks a file for writing as QEMU does, says so, and waits to be killed.
func holdLock(image string) {
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	if err == nil {
		lock := unix.Flock_t{Type: unix.F_RDLCK, Start: 101, Len: 1} // the permission to write is in use
		err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock)
	}
	if err == nil {
		lock := unix.Flock_t{Type: unix.F_RDLCK, Start: 201, Len: 1} // and shared with nobody
		err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock)
	}
	if err != nil {
		os.Exit(1)
	}
	os.Stdout.WriteString("x")
	time.Sleep(time.Minute)
}

func TestSuggestedNames(t *testing.T) {
	got := platter("platter", "convert", "-f", "rwa", "a", "b")
	if !strings.HasSuffix(got.stderr, "Unknown driver 'rwa'\nDid you mean 'raw'?\n") {
		t.Errorf("%+v", got)
	}
}
