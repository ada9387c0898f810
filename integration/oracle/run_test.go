package oracle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"platter/integration/programs"
	"platter/integration/twin"
)

// runner runs cases and counts them.
type runner struct {
	stock, ours programs.Program
	scratch     string

	next, compared, explained atomic.Int64

	mu   sync.Mutex
	seen map[int][2]int // index into differences -> cases that matched, cases that differed
}

// result is what one command line did.
type result struct {
	stdout, stderr string
	code           int
}

const limit = 30 * time.Second

// errNoEnd: stock runs for minutes where it makes LUKS keys on a busy machine or tables for the largest sizes.
var errNoEnd = errors.New("no end")

// run compares one case and reports each difference that no row explains.
func (r *runner) run(t *testing.T, g group, c testCase) {
	top := filepath.Join(r.scratch, fmt.Sprint(r.next.Add(1)))
	defer os.RemoveAll(top)
	a, b := filepath.Join(top, "a"), filepath.Join(top, "b")
	for _, dir := range []string{a, b} {
		if err := copyFixture(c.fixture, dir); err != nil {
			t.Fatal(err)
		}
	}
	var report strings.Builder
	for _, line := range c.cmds {
		args := words(line)
		want, err := execute(r.stock, a, args)
		if errors.Is(err, errNoEnd) {
			t.Skipf("stock does not come to an end either: %s: %v", line, err)
		} else if err != nil {
			t.Fatalf("stock: %s: %v", line, err)
		}
		have, err := execute(r.ours, b, args)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		r.compared.Add(1)
		report.WriteString(difference(line, normalise(g, want), normalise(g, have)))
	}
	report.WriteString(r.compareFolders(c, a, b))
	r.judge(t, g, c, report.String())
}

// execute runs a program and keeps what it says. An error means that it did not come to an end by itself.
func execute(p programs.Program, dir string, args []string) (result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := p.Command(ctx, dir, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	res := result{stdout: stdout.String(), stderr: stderr.String(), code: cmd.ProcessState.ExitCode()}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return res, fmt.Errorf("%w after %v\nstdout: %s\nstderr: %s", errNoEnd, limit, &stdout, &stderr)
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return res, nil
	case err != nil:
		return res, fmt.Errorf("%w\nstdout: %s\nstderr: %s", err, &stdout, &stderr)
	}
	return res, nil
}

// difference describes how two runs of a command line differ, "" if they do not.
func difference(line string, want, have result) string {
	var b strings.Builder
	if want.code != have.code {
		fmt.Fprintf(&b, "exit code: stock %d, ours %d\n", want.code, have.code)
	}
	b.WriteString(twin.Unified("stdout", want.stdout, have.stdout))
	b.WriteString(twin.Unified("stderr", want.stderr, have.stderr))
	if b.Len() == 0 {
		return ""
	}
	return "$ qemu-img " + line + "\n" + b.String()
}

// judge turns a report into a failure, unless a row of differences explains it.
func (r *runner) judge(t *testing.T, g group, c testCase, report string) {
	if i, ok := explainedBy(g, c); ok {
		r.mu.Lock()
		if r.seen == nil {
			r.seen = map[int][2]int{}
		}
		n := r.seen[i]
		n[0]++
		if report != "" {
			n[1]++
			r.explained.Add(1)
		}
		r.seen[i] = n
		r.mu.Unlock()
		return
	}
	if report != "" {
		t.Error("in fixture " + fmt.Sprintf("%q", c.fixture) + ":\n" + report)
	}
}

var words = twin.Words
