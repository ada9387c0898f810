package main

import (
	"os"
	"os/exec"
	"regexp"
	"testing"
)

// TestBarOnATerminal: a verb that takes a while draws a bar with rate and remaining time, and wipes it out at the end. As
// qemu-img it is silent.
func TestBarOnATerminal(t *testing.T) {
	if _, err := exec.LookPath("script"); err != nil {
		t.Skipf("script(1), which makes a terminal, is not installed: %v", err)
	}
	dir := slowDir(t)
	for argv0, want := range map[string]string{
		"platter":  `^(\r\[=*>? *\] +[0-9.]+ %  [0-9.e+]+ [KM]iB/s  \d+:\d\d left\x1b\[K)+\r\x1b\[K$`,
		"qemu-img": `^$`,
	} {
		c := exec.Command("script", "-qec", os.Args[0]+" convert --object throttle-group,id=slow,x-bps-total=6000000 --image-opts -O raw "+
			slow("raw", "source.raw")+" out.raw", os.DevNull)
		c.Env = append(os.Environ(), "PLATTER_TEST_ARGV0="+argv0)
		c.Dir = dir
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", argv0, err, out)
		}
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("%s shows %q", argv0, out)
		}
	}
}
