package main

import (
	"os/exec"
	"strings"
	"testing"
)

const events = `{"Action":"start","Package":"p"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:7: want 1, have 2\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"--- FAIL: TestA (0.00s)\n"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:9: no /dev/fuse: cannot mount\n"}
{"Action":"skip","Package":"p","Test":"TestB"}
{"Action":"skip","Package":"p","Test":"TestC"}
{"Action":"pass","Package":"p","Test":"TestD"}
{"Action":"output","Package":"p","Test":"TestE","Output":"panic: boom\n"}
{"Action":"fail","Package":"p","Elapsed":1.5}
{"ImportPath":"q","Action":"build-output","Output":"q.go:1: syntax error\n"}
{"Action":"fail","Package":"q","FailedBuild":"q"}
`

func TestReport(t *testing.T) {
	var b strings.Builder
	r := newReport(&b)
	r.read(strings.NewReader(events))
	if code := r.finish(nil); code != 1 {
		t.Errorf("exit code %d with failed tests, want 1", code)
	}
	for _, want := range []string{
		"FAIL p TestA\n        a_test.go:7: want 1, have 2\n",
		"p TestB: no /dev/fuse: cannot mount\n",
		"p TestC: NO REASON GIVEN\n",
		"FAIL p TestE (did not end)\n    panic: boom\n",
		"q.go:1: syntax error\n",
		"1 tests passed, 2 skipped, 3 failed\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("report lacks %q:\n%s", want, &b)
		}
	}
}

func TestExitCodeIsGoTests(t *testing.T) {
	err := exec.Command("sh", "-c", "exit 3").Run()
	if code := newReport(new(strings.Builder)).finish(err); code != 3 {
		t.Errorf("exit code %d, want go test's 3", code)
	}
	if code := newReport(new(strings.Builder)).finish(nil); code != 0 {
		t.Errorf("exit code %d of a run without failures", code)
	}
}
