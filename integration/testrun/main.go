package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
)

// event is a line of go test -json (see go doc test2json); build lines have ImportPath instead of Package.
type event struct {
	Action, Package, ImportPath, Test, Output string
	Elapsed                                   float64
}

func main() {
	cmd := exec.Command("go", append([]string{"test", "-json", "-timeout=15m"}, os.Args[1:]...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testrun:", err)
		os.Exit(1)
	}
	// go test and its children get the terminal's signals too; the summary is still wanted.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGINT, syscall.SIGTERM)

	r := newReport(os.Stdout)
	r.read(out)
	os.Exit(r.finish(cmd.Wait()))
}

// report gathers the events of one run.
type report struct {
	w       io.Writer
	output  map[string][]string // package + test -> lines not shown yet
	skipped []string
	failed  []string
	passed  int
}

func newReport(w io.Writer) *report {
	return &report{w: w, output: map[string][]string{}}
}

// read consumes events until the stream ends. A line that is no event is shown as it is.
func (r *report) read(in io.Reader) {
	sc := bufio.NewScanner(in)
	sc.Buffer(nil, 64<<20)
	for sc.Scan() {
		var e event
		if json.Unmarshal(sc.Bytes(), &e) != nil || e.Action == "" {
			fmt.Fprintln(r.w, sc.Text())
			continue
		}
		r.add(e)
	}
	if err := sc.Err(); err != nil {
		r.failed = append(r.failed, "reading the events: "+err.Error())
	}
}

func (r *report) add(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "build-output":
		fmt.Fprint(r.w, e.Output)
	case "output":
		r.output[key] = append(r.output[key], e.Output)
	case "pass", "fail", "skip":
		r.end(key, e)
	}
}

// end closes a test, or a package when e has no test.
func (r *report) end(key string, e event) {
	lines := r.output[key]
	delete(r.output, key)
	if e.Test == "" {
		r.endPackage(lines, e)
		return
	}
	switch e.Action {
	case "pass":
		r.passed++
	case "skip":
		r.skipped = append(r.skipped, fmt.Sprintf("%s %s: %s", e.Package, e.Test, reason(lines)))
	case "fail":
		r.failed = append(r.failed, e.Package+" "+e.Test)
		fmt.Fprintf(r.w, "FAIL %s %s\n%s", e.Package, e.Test, indent(body(lines)))
	}
}

func (r *report) endPackage(lines []string, e event) {
	switch {
	case e.Action == "fail":
		r.failed = append(r.failed, e.Package)
		fmt.Fprintf(r.w, "FAIL %s (%.1fs)\n%s", e.Package, e.Elapsed, indent(body(lines)))
		r.leftovers(e.Package)
	case e.Action == "pass":
		fmt.Fprintf(r.w, "ok   %s (%.1fs)\n", e.Package, e.Elapsed)
	}
}

// leftovers shows the output of tests that never ended: the one that panicked or hung among them.
func (r *report) leftovers(pkg string) {
	for key, lines := range r.output {
		if strings.HasPrefix(key, pkg+" ") {
			fmt.Fprintf(r.w, "FAIL %s (did not end)\n%s", key, indent(body(lines)))
			delete(r.output, key)
		}
	}
}

// finish prints the summary and gives the exit code of the whole run.
func (r *report) finish(err error) int {
	if len(r.skipped) > 0 {
		fmt.Fprintf(r.w, "\nskipped tests: %d\n", len(r.skipped))
		for _, s := range r.skipped {
			fmt.Fprintln(r.w, "  "+s)
		}
	}
	fmt.Fprintf(r.w, "\n%d tests passed, %d skipped, %d failed\n", r.passed, len(r.skipped), len(r.failed))
	for _, f := range r.failed {
		fmt.Fprintln(r.w, "  FAIL "+f)
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return exit.ExitCode()
	case err != nil || len(r.failed) > 0:
		return 1
	}
	return 0
}

// body drops the framing lines that go test writes around each test.
func body(lines []string) string {
	var b strings.Builder
	for _, l := range lines {
		t := strings.TrimLeft(l, " ")
		if strings.HasPrefix(t, "=== ") || strings.HasPrefix(t, "--- ") {
			continue
		}
		b.WriteString(l)
	}
	return b.String()
}

// reason is what a test said when it skipped, on one line, without the source position.
func reason(lines []string) string {
	text := strings.Join(strings.Fields(body(lines)), " ")
	if at, rest, ok := strings.Cut(text, ": "); ok && strings.Contains(at, ".go:") {
		text = rest
	}
	if text == "" {
		return "NO REASON GIVEN"
	}
	return text
}

func indent(s string) string {
	if s == "" {
		return ""
	}
	return "    " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n    ") + "\n"
}
