package failures

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"platter/integration/programs"
)

// work is a command that is ended in the middle. Files that it may change are in own; what is read below must stay.
type work struct {
	name, line string
	keeps      []string // files that must be the same bytes
	reads      []string // images whose guest content must stay
	checks     []string // images that stock check must find sound
}

var works = []work{
	{"convert", "convert -r 8M -O qcow2 top.qcow2 out.qcow2", []string{"base.qcow2", "top.qcow2"}, []string{"top.qcow2"}, nil},
	{"convert in place", "convert -r 8M -n -O qcow2 noise.raw target.qcow2", []string{"noise.raw"}, nil, []string{"target.qcow2"}},
	{"commit", "commit -r 8M top.qcow2", nil, []string{"top.qcow2"}, []string{"top.qcow2", "base.qcow2"}},
	{"commit fast", "commit top.qcow2", nil, []string{"top.qcow2"}, []string{"top.qcow2", "base.qcow2"}},
	{"commit -d", "commit -d -r 8M top.qcow2", nil, []string{"top.qcow2"}, []string{"top.qcow2", "base.qcow2"}},
	{"rebase", "rebase -b other.qcow2 -F qcow2 top.qcow2", []string{"base.qcow2", "other.qcow2"}, []string{"top.qcow2"}, []string{"top.qcow2"}},
	{"rebase flat", "rebase -b '' top.qcow2", []string{"base.qcow2"}, []string{"top.qcow2"}, []string{"top.qcow2"}},
	{"rebase unsafe", "rebase -u -b base.qcow2 -F qcow2 top.qcow2", []string{"base.qcow2"}, []string{"top.qcow2"}, []string{"top.qcow2"}},
	{"create", "create -f qcow2 -b base.qcow2 -F qcow2 -o extended_l2=on,preallocation=metadata new.qcow2 64M", []string{"base.qcow2"}, []string{"base.qcow2"}, nil},
	{"resize", "resize --preallocation=metadata flat.qcow2 64M", nil, nil, []string{"flat.qcow2"}},
	{"amend", "amend -o refcount_bits=64 flat.qcow2", nil, []string{"flat.qcow2"}, []string{"flat.qcow2"}},
	{"snapshot", "snapshot -c s flat.qcow2", nil, []string{"flat.qcow2"}, []string{"flat.qcow2"}},
	{"snapshot -d", "snapshot -d first snapped.qcow2", nil, []string{"snapped.qcow2"}, []string{"snapped.qcow2"}},
	{"snapshot -a", "snapshot -a first snapped.qcow2", nil, nil, []string{"snapped.qcow2"}},
}

func words(line string) []string {
	all := strings.Fields(line)
	for i, w := range all {
		if w == "''" {
			all[i] = ""
		}
	}
	return all
}

// fill makes the images of a work folder once.
func fill(t *testing.T, dir string) {
	t.Helper()
	rng := rand.New(rand.NewPCG(6, 6))
	noise := make([]byte, 4<<20)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	if err := os.WriteFile(filepath.Join(dir, "noise.raw"), noise, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"qemu-img convert -O qcow2 noise.raw base.qcow2", "qemu-img create -q -f qcow2 target.qcow2 4M", "qemu-img create -q -f qcow2 other.qcow2 4M",
		"qemu-io -f qcow2 -c write_-P_9_1M_2M other.qcow2", "qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2",
		"qemu-io -f qcow2 -c write_-P_1_512k_1M -c write_-P_2_3M_100k -c write_-z_2M_64k top.qcow2", "qemu-img convert -O qcow2 top.qcow2 flat.qcow2",
		"qemu-img convert -O qcow2 top.qcow2 snapped.qcow2", "qemu-img snapshot -c first snapped.qcow2",
		"qemu-io -f qcow2 -c write_-P_3_0_1M -c write_-z_3M_128k snapped.qcow2",
	} {
		w := strings.Fields(line)
		for i := range w {
			w[i] = strings.ReplaceAll(w[i], "_", " ")
		}
		stock(t, dir, w...)
	}
	for _, name := range []string{"base.qcow2", "top.qcow2", "flat.qcow2", "snapped.qcow2"} {
		stock(t, dir, "qemu-img", "convert", "-O", "raw", name, name+".content")
	}
}

func stock(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, code := try(t, dir, args...)
	if code != 0 {
		t.Fatalf("%q: exit %d: %s", args, code, out)
	}
	return out
}

func try(t *testing.T, dir string, args ...string) (string, int) {
	t.Helper()
	cmd := programs.NeedStock(t, args[0]).Command(context.Background(), dir, args[1:]...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// content is what a guest sees of an image, by stock.
func content(t *testing.T, dir, image string) []byte {
	t.Helper()
	stock(t, dir, "qemu-img", "convert", "-O", "raw", image, "content.raw")
	p, err := os.ReadFile(filepath.Join(dir, "content.raw"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// verdict compares what is left with what was there.
func (w work) verdict(t *testing.T, before, dir string) {
	t.Helper()
	for _, name := range w.keeps {
		a, errA := os.ReadFile(filepath.Join(before, name))
		b, errB := os.ReadFile(filepath.Join(dir, name))
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("%s has changed (%v, %v)", name, errA, errB)
		}
	}
	for _, name := range w.checks {
		out, code := try(t, dir, "qemu-img", "check", name)
		if code != 0 && code != 3 {
			t.Errorf("stock check of %s: exit %d\n%s", name, code, out)
		}
	}
	for _, name := range w.reads {
		if was, err := os.ReadFile(filepath.Join(before, name+".content")); err != nil || !bytes.Equal(was, content(t, dir, name)) {
			t.Errorf("the guest content of %s has changed", name)
		}
	}
}

// moments is how often each command is ended by each signal.
func moments() int {
	if os.Getenv("PLATTER_LONG") != "" {
		return 60
	}
	return 3
}

func TestInterrupted(t *testing.T) {
	img := programs.NeedPlatter(t, "qemu-img")
	before := t.TempDir()
	fill(t, before)
	for _, w := range works {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			took := w.run(t, img, before, 0, 0)
			rng := rand.New(rand.NewPCG(8, uint64(len(w.name))))
			for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
				n := moments()
				if sig == syscall.SIGKILL {
					n *= 2
				}
				for range n {
					w.run(t, img, before, sig, time.Duration(rng.Int64N(int64(took))))
				}
			}
		})
	}
}

// run runs the command on a copy of the images, sends it a signal after a while, and judges. It returns how long it took.
func (w work) run(t *testing.T, img programs.Program, before string, sig syscall.Signal, after time.Duration) time.Duration {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("cp", "--sparse=always", "-a", before+"/.", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	defer os.RemoveAll(dir)
	cmd := img.Command(context.Background(), dir, words(w.line)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if sig != 0 {
		time.Sleep(after)
		cmd.Process.Signal(sig)
	}
	cmd.Wait()
	took := time.Since(began)
	what := fmt.Sprintf("%v after %v", sig, after)
	switch code := cmd.ProcessState.ExitCode(); {
	case sig == 0 && code != 0:
		t.Fatalf("exit %d: %s", code, &out)
	case code == 1 && !strings.Contains("\n"+out.String(), "\nqemu-img: "):
		t.Errorf("%s: exit 1 without a word of why: %q", what, out.String())
	case code > 1, code < 0 && sig != syscall.SIGKILL && after > 100*time.Millisecond:
		// Before the program has begun to watch for signals they end it as they end any other.
		t.Errorf("%s: exit %d: %s", what, code, &out)
	}
	if t.Failed() {
		t.Logf("%s: exit %d: %s", what, cmd.ProcessState.ExitCode(), &out)
	}
	w.verdict(t, before, dir)
	if t.Failed() {
		t.Fatalf("%s: %s", w.line, what)
	}
	return took
}
