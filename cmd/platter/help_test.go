package main

import (
	"strings"
	"testing"

	"platter/cmd/platter/internal/verb"
)

func TestHelpEqualsStock(t *testing.T) {
	stock := oracle(t)
	lines := [][]string{{"--help"}, {"-h"}, {"--version"}, {"-V", "-h"}, {"-hV"}, {"-T", "help"}}
	for _, v := range verb.All() {
		lines = append(lines, []string{v.Name, "--help"}, []string{v.Name, "a", "-h", "--nonsense"})
	}
	for _, args := range lines {
		if want, got := ask(t, stock, t.TempDir(), nil, args...), platter("qemu-img", args...); got != want {
			t.Errorf("%v:\n got %+v\nwant %+v", args, got, want)
		}
	}
}

func TestHelpUnderOwnName(t *testing.T) {
	for _, v := range append(verb.All(), verb.Own()...) {
		for _, args := range [][]string{{v.Name, "--help"}, {"help", v.Name}} {
			got := platter("/usr/bin/platter", args...)
			if got.code != 0 || got.stderr != "" || !strings.Contains(got.stdout, "  platter "+v.Name) {
				t.Errorf("%v: %+v", args, got)
			}
			for _, bad := range []string{"qemu-img", "XXX", "requred", "chaing"} {
				if strings.Contains(got.stdout, bad) {
					t.Errorf("%v has %q:\n%s", args, bad, got.stdout)
				}
			}
		}
	}
	if got := platter("platter", "--version"); got.stdout != "platter version 1.2.3\n" {
		t.Errorf("%+v", got)
	}
}

// TestOptionHelpEqualsStock lists -o options without making anything.
func TestOptionHelpEqualsStock(t *testing.T) {
	stock, dir := oracle(t), t.TempDir()
	t.Chdir(dir)
	for _, line := range []string{
		"create -o help", "create -f raw -o ? x", "create -f nonsense -o help", "create -o help nonsense:x", "create -o help x y z",
		"convert -o help", "convert -O raw -o help a b", "convert -O nonsense -o help", "convert -o help a nonsense:b",
		"amend -f nonsense -o help", "amend -f raw -o help", "amend -o help a b", "create -f file -o help", "create -f vdi -o help",
		"convert -O vdi -o help,static=on x",
	} {
		args := strings.Fields(line)
		if want, got := ask(t, stock, dir, nil, args...), platter("qemu-img", args...); got != want {
			t.Errorf("%s:\n got %+v\nwant %+v", line, got, want)
		}
	}
}

// TestProgramName: getopt's complaints show argv[0] as it is, all else its base name, as in stock.
func TestProgramName(t *testing.T) {
	for line, want := range map[string]string{
		"create -z":  "/x/y/qemu-img create: invalid option -- 'z'\nTry '/x/y/qemu-img create --help' for more info\n",
		"create a x": "qemu-img: Invalid image size specified: 'x'.\n",
		"create":     "qemu-img: Expecting image file name\nTry '/x/y/qemu-img create --help' for more info\n",
		"--nonsense": "/x/y/qemu-img: unrecognized option '--nonsense'\nTry '/x/y/qemu-img --help' for more info\n",
	} {
		if got := platter("/x/y/qemu-img", strings.Fields(line)...); got != (answer{"", want, 1}) {
			t.Errorf("%s: %+v", line, got)
		}
	}
}
