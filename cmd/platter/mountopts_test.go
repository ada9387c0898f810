package main

import (
	"os"
	"strings"
	"testing"

	"platter/cmd/platter/internal/verb"
)

// TestMountOptions holds the options of mount to those that help and manual list: each is taken with a value if it has
// one there, and not otherwise.
func TestMountOptions(t *testing.T) {
	example := map[string]string{"N": "7", "FMT": "raw", "NAME": "x", "FILE": "x", "MODE": "any"}
	listed := map[string]bool{}
	for _, v := range verb.FindOwn("mount").Lookup('o', "").Values {
		for _, name := range strings.Split(v.Name, ", ") {
			name, value, valued := strings.Cut(name, "=")
			listed[name] = true
			good, bad := name, name+"=x"
			if valued {
				good, bad = name+"="+example[value], name+"="
			}
			if err := newMountOptions().parse(good); err != nil {
				t.Errorf("%s: %v", good, err)
			}
			if err := newMountOptions().parse(bad); err == nil && name != "overlay" {
				t.Errorf("%s is taken", bad)
			}
		}
	}
	for _, name := range []string{"overlay=", "nonsense", "nonsense=x", "exec=x", "auto=x", "uid", "uid=x", "refs=all", "remount", "remount,ro"} {
		if err := newMountOptions().parse(name); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	// As Debian 13's mount(8) asks for it.
	if err := newMountOptions().parse("rw,user_id=0,group_id=0,remount"); err == nil || !strings.Contains(err.Error(), "cannot be changed") {
		t.Errorf("remount: %v", err)
	}
	for name := range generic {
		if (name == "suid" || name == "dev") && os.Geteuid() != 0 {
			continue
		}
		if err := newMountOptions().parse(name + ",x-y=z,auto,comment=x,"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	sloppy := newMountOptions()
	sloppy.sloppy = true
	if err := sloppy.parse("nonsense,nonsense=x,format=raw"); err != nil || sloppy.format != "raw" {
		t.Errorf("%+v, %v", sloppy, err)
	}
	if !listed["umask"] || len(listed) < 15 {
		t.Errorf("only %v are listed", listed)
	}
}
