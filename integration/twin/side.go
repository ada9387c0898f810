package twin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"platter/integration/programs"
)

// limit is how long a command may run. Nothing that a scenario runs takes more than a few seconds.
const limit = 60 * time.Second

// Side is one of the two runs of a scenario.
type Side struct {
	*testing.T
	Ours bool   // platter's run
	Dir  string // working folder of all commands

	img        programs.Program
	transcript strings.Builder
	rules      []rule
}

type rule struct {
	find *regexp.Regexp
	put  string
}

// Compare runs a scenario with stock qemu-img and with platter and fails if the transcripts differ.
func Compare(t *testing.T, scenario func(s *Side)) {
	t.Helper()
	if want, have := run(t, scenario); want != have {
		t.Error(Unified("transcript", want, have))
	}
}

// Differs is Compare for a scenario whose transcripts differ, for a reason. It fails once they do not.
func Differs(t *testing.T, reason string, scenario func(s *Side)) {
	t.Helper()
	want, have := run(t, scenario)
	if want == have {
		t.Errorf("no difference any more: %s\n%s", reason, have)
	}
	t.Logf("%s\n%s", reason, Unified("transcript", want, have))
}

func run(t *testing.T, scenario func(s *Side)) (want, have string) {
	t.Helper()
	stock, ours := programs.NeedStock(t, "qemu-img"), programs.NeedPlatter(t, "qemu-img")
	want = runSide(t, "stock", stock, false, scenario)
	return want, runSide(t, "ours", ours, true, scenario)
}

// runSide runs a scenario as a subtest, so that what it starts ends before the other side begins.
func runSide(t *testing.T, name string, img programs.Program, ours bool, scenario func(s *Side)) string {
	var text string
	ok := t.Run(name, func(t *testing.T) {
		s := &Side{T: t, Ours: ours, Dir: t.TempDir(), img: img}
		s.Normalise(regexp.QuoteMeta(s.Dir), "DIR")
		scenario(s)
		text = s.transcript.String()
		for _, r := range s.rules {
			text = r.find.ReplaceAllString(text, r.put)
		}
	})
	if !ok {
		t.FailNow()
	}
	return text
}

// Normalise replaces what differs between two runs by nature in the transcript.
func (s *Side) Normalise(pattern, put string) {
	s.rules = append(s.rules, rule{regexp.MustCompile(pattern), put})
}

// Note adds a line to the transcript.
func (s *Side) Note(format string, a ...any) { fmt.Fprintf(&s.transcript, format+"\n", a...) }

// Img runs qemu-img with the words of line and notes what it does; the exit code is returned as well.
func (s *Side) Img(line string) int {
	s.Helper()
	out, errs, code := s.Quiet(line)
	s.Note("$ qemu-img %s\n%s%s(exit %d)", line, out, errs, code)
	return code
}

// Quiet runs qemu-img with the words of line and notes nothing.
func (s *Side) Quiet(line string) (stdout, stderr string, code int) {
	s.Helper()
	return s.exec(s.img, Words(line))
}

// Command prepares a run of qemu-img that the scenario starts itself.
func (s *Side) Command(ctx context.Context, line string) *exec.Cmd {
	return s.img.Command(ctx, s.Dir, Words(line)...)
}

// Stock runs a stock tool on both sides, the first word of line, which must succeed; its standard output is returned.
func (s *Side) Stock(line string) string {
	s.Helper()
	out, errs, code := s.Try(line)
	if code != 0 {
		s.Fatalf("%s: exit %d\n%s%s", line, code, out, errs)
	}
	return out
}

// Try is Stock for what may fail.
func (s *Side) Try(line string) (stdout, stderr string, code int) {
	s.Helper()
	w := Words(line)
	return s.exec(programs.NeedStock(s, w[0]), w[1:])
}

func (s *Side) exec(p programs.Program, args []string) (stdout, stderr string, code int) {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := p.Command(ctx, s.Dir, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if ctx.Err() != nil || cmd.ProcessState == nil {
		s.Fatalf("%s %q: no end after %v: %v\n%s%s", p.Path, args, limit, err, &out, &errs)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// Path is a file of the working folder.
func (s *Side) Path(name string) string { return filepath.Join(s.Dir, name) }

// Write makes a file in the working folder.
func (s *Side) Write(name string, p []byte) {
	s.Helper()
	if err := os.WriteFile(s.Path(name), p, 0o644); err != nil {
		s.Fatal(err)
	}
}

// Sum is a short sum of a file's content.
func (s *Side) Sum(name string) string {
	s.Helper()
	f, err := os.Open(s.Path(name))
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		s.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8])
}

// NoteSums notes size and sum of files.
func (s *Side) NoteSums(names ...string) {
	s.Helper()
	for _, n := range names {
		fi, err := os.Stat(s.Path(n))
		if err != nil {
			s.Note("%s: not there", n)
			continue
		}
		s.Note("%s: %d bytes, sum %s", n, fi.Size(), s.Sum(n))
	}
}
