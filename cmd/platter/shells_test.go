package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

// shellDir is a folder with an image that has snapshots and bitmaps, the program, and the script for a shell.
func shellDir(t *testing.T, shell string) string {
	t.Helper()
	if _, err := exec.LookPath(shell); err != nil {
		t.Skipf("%s is not installed: %v", shell, err)
	}
	dir := t.TempDir()
	mustRun(t, dir, "create", "-q", "-f", "qcow2", "disk.qcow2", "1M")
	for _, name := range []string{"alpha", "before the upgrade"} {
		mustRun(t, dir, "snapshot", "-c", name, "disk.qcow2")
	}
	for _, name := range []string{"monday", "tuesday"} {
		mustRun(t, dir, "bitmap", "--add", "disk.qcow2", name)
	}
	program := fmt.Sprintf("#!/bin/sh\nPLATTER_TEST_ARGV0=platter exec '%s' \"$@\"\n", os.Args[0])
	if err := os.WriteFile(filepath.Join(dir, "platter"), []byte(program), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("HOME", dir)
	script, err := exec.Command("platter", "completion", shell).Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "script"), script, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// bashAsks runs the function that the script gives bash as bash would at the end of a line.
const bashAsks = `source ./script
line=$1; COMP_LINE=$line; COMP_POINT=${#line}
eval "COMP_WORDS=($line)"; case $line in *' ') COMP_WORDS+=('') ;; esac
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_platter 2>/dev/null; printf '%s\n' "${COMPREPLY[@]}"`

// zshAsks does so for zsh, whose builtins work only within its line editor: functions in their place print what they get.
const zshAsks = `compdef() { }; compset() { }; _files() { }
compadd() { local list=${@[-1]}; print -rl -- "${(@P)list}" }
source ./script
words=("${(@z)1}"); [[ $1 == *' ' && -n ${words[-1]} ]] && words+=('')
CURRENT=$#words
_platter; true`

func TestShellsCompleteNamesOfTheImage(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		t.Run(shell, func(t *testing.T) {
			dir := shellDir(t, shell)
			for line, want := range map[string]string{
				"platter snapshot disk.qcow2 -d ":          "alpha,before the upgrade",
				"platter snapshot disk.qcow2 -a al":        "alpha",
				"platter snapshot disk.qcow2 --apply ":     "alpha,before the upgrade",
				"platter convert disk.qcow2 -l al":         "alpha",
				"platter bitmap --remove disk.qcow2 ":      "monday,tuesday",
				"platter bitmap --clear disk.qcow2 tu":     "tuesday",
				"platter create -f qcow2 -o cluster":       "cluster_size=",
				"platter create -f qcow":                   "qcow,qcow2",
				"platter snapshot missing.qcow2 -d ":       "",
				"platter snapshot disk.qcow2 -f qcow2 -d ": "alpha,before the upgrade",
			} {
				args := map[string][]string{
					"bash": {"--norc", "-c", bashAsks, "bash", line}, "zsh": {"-f", "-c", zshAsks, "zsh", line},
					"fish": {"--no-config", "-c", "source ./script; complete -C $argv[1]", line},
				}[shell]
				c := exec.Command(shell, args...)
				c.Dir = dir
				out, err := c.Output()
				if err != nil {
					t.Fatalf("%s: %v", line, err)
				}
				var got []string
				for _, l := range strings.Split(string(out), "\n") {
					word, _, _ := strings.Cut(l, "\t") // fish's descriptions
					if word = strings.NewReplacer(`\`, "", "'", "").Replace(word); word != "" {
						got = append(got, word)
					}
				}
				sort.Strings(got)
				if strings.Join(got, ",") != want {
					t.Errorf("%q gives %q, want %s", line, got, want)
				}
			}
		})
	}
}
