package tools_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"platter/formats"
	"platter/formats/all"
	"platter/formats/option"
	"platter/tools"
)

// faulty is a protocol, "faulty:", whose bytes are content, but for sectors that cannot be read and one at which not
// even the status can be told.
type faulty struct {
	content []byte
	bad     map[int64]bool // sectors
	blind   int64          // sector without a status; -1: none
}

func (f *faulty) Size() int64            { return int64(len(f.content)) }
func (f *faulty) Limits() formats.Limits { return formats.Limits{} }
func (f *faulty) Close() error           { return nil }

func (f *faulty) Flush(context.Context) error { return nil }

func (f *faulty) ReadAt(_ context.Context, p []byte, off int64) error {
	for s := off / 512; s*512 < off+int64(len(p)); s++ {
		if f.bad[s] {
			return syscall.EIO
		}
	}
	copy(p, f.content[off:])
	return nil
}

func (f *faulty) Status(_ context.Context, off, n int64) (formats.Extent, error) {
	if f.blind >= 0 && off <= f.blind*512 && off+n > f.blind*512 {
		return formats.Extent{}, syscall.EIO
	}
	return formats.Extent{Len: n, State: formats.Data, Offset: off}, nil
}

// faultyEnv is testEnv with the protocol added.
func faultyEnv(w *words, f *faulty) *tools.Env {
	env := testEnv(w)
	env.Registry = formats.NewRegistry(append(all.Registry().All(), &formats.Driver{
		Name: "faulty", Kind: formats.Protocol, Schemes: []string{"faulty"},
		OpenOpts: option.Schema{{Name: "filename"}},
		Open:     func(context.Context, formats.OpenArgs) (formats.Image, error) { return f, nil },
	})...)
	return env
}

// noisy is content without a sector of zeroes.
func noisy(n int) []byte {
	r := rand.New(rand.NewPCG(uint64(n), 7))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(1 + r.IntN(255))
	}
	return b
}

func convertFaulty(t *testing.T, f *faulty, change func(*tools.ConvertOptions)) (out []byte, said string, err error) {
	t.Helper()
	w := &words{}
	o := tools.ConvertOptions{
		Sources: []tools.Source{{Filename: "faulty:", Format: "raw"}}, Target: filepath.Join(t.TempDir(), "out"),
		TargetFormat: "raw", TargetCache: "unsafe", SparseSize: 4096,
	}
	if change != nil {
		change(&o)
	}
	err = tools.Convert(t.Context(), faultyEnv(w, f), o)
	out, _ = os.ReadFile(o.Target)
	return out, w.text.String(), err
}

func TestConvertTellsWhereReadingFailed(t *testing.T) {
	f := &faulty{content: noisy(9 << 20), bad: map[int64]bool{5 << 11: true, 7 << 11: true}, blind: -1}
	if _, said, err := convertFaulty(t, f, func(o *tools.ConvertOptions) { o.TargetFormat = "qcow2" }); said != "" || err == nil ||
		err.Error() != "error while reading at byte 4194304: Input/output error" {
		t.Errorf("%v, %q", err, said)
	}
	f.blind = 4 << 11
	_, _, err := convertFaulty(t, f, nil)
	if err == nil || !strings.HasPrefix(err.Error(), "error while reading block status at offset ") {
		t.Errorf("%v", err)
	}
}

func TestSalvageLosesOnlyWhatCannotBeRead(t *testing.T) {
	f := &faulty{content: noisy(5<<20 + 512), bad: map[int64]bool{0: true, 4096: true, 4097: true, 5 << 11: true}, blind: 3000}
	out, said, err := convertFaulty(t, f, func(o *tools.ConvertOptions) { o.Salvage = true })
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Clone(f.content)
	for s := range f.bad {
		clear(want[s*512 : s*512+512])
	}
	if !bytes.Equal(out, want) {
		t.Error("the content differs")
	}
	for _, s := range []int64{0, 4096, 4097, 5 << 11} {
		if line := fmt.Sprintf("warning: error while reading offset %d: Input/output error\n", s*512); strings.Count(said, line) != 1 {
			t.Errorf("%q is said %d times", line, strings.Count(said, line))
		}
	}
	line := "warning: error while reading block status at offset 1536000: Input/output error\n"
	if strings.Count(said, line) != 2 { // once for each walk, as qemu-img says it
		t.Errorf("of the status: %q", said)
	}
	if _, said, _ := convertFaulty(t, f, func(o *tools.ConvertOptions) { o.Salvage, o.Quiet = true, true }); said != "" {
		t.Errorf("quiet says %q", said)
	}
}

func TestConvertInterrupted(t *testing.T) {
	dir := t.TempDir()
	source, target := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	content := noisy(8 << 20)
	if err := os.WriteFile(source, content, 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	env := testEnv(&words{})
	m := &tools.Meter{Tick: func(p float32) {
		if p > 30 {
			cancel()
		}
	}}
	err := tools.Convert(ctx, env, tools.ConvertOptions{
		Sources: []tools.Source{{Filename: source, Format: "raw"}}, Target: target, TargetFormat: "qcow2",
		TargetCache: "unsafe", SparseSize: 4096, Meter: m,
	})
	if err == nil {
		t.Fatal("no error")
	}
	if after, _ := os.ReadFile(source); !bytes.Equal(after, content) {
		t.Error("the source has changed")
	}
	r, err := tools.Check(t.Context(), env, tools.CheckOptions{Source: tools.Source{Filename: target, Format: "qcow2"}})
	if err != nil || r.Damage() != tools.Healthy {
		t.Errorf("check: %v, %v", r, err)
	}
}

func TestCompareStatuses(t *testing.T) {
	content := noisy(5 << 20)
	changed := bytes.Clone(content)
	changed[3<<20+700]++
	changed[4<<20]++
	longer := append(bytes.Clone(content), make([]byte, 3<<20)...)
	dirty := bytes.Clone(longer)
	dirty[7<<20+3] = 1
	whole := func() *faulty { return &faulty{content: content, blind: -1} }
	for _, c := range []struct {
		name   string
		other  []byte
		f      *faulty
		status int
		said   string // verdict or error
	}{
		{"same", content, whole(), 0, "Images are identical."},
		{"changed", changed, whole(), 1, "Content mismatch at offset 3146240!"},
		{"longer", longer, whole(), 0, "Warning: Image size mismatch!|Images are identical."},
		{"dirty", dirty, whole(), 1, "Warning: Image size mismatch!|Content mismatch at offset 7340035!"},
		{"unreadable", content, &faulty{content: content, bad: map[int64]bool{9000: true}, blind: -1}, 4,
			"Error while reading offset 4194304 of faulty:: Input/output error"},
		{"difference before error", changed, &faulty{content: content, bad: map[int64]bool{9000: true}, blind: -1}, 1,
			"Content mismatch at offset 3146240!"},
		{"blind", content, &faulty{content: content, blind: 100}, 3, "Sector allocation test failed for faulty:"},
	} {
		name := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(name, c.other, 0o644); err != nil {
			t.Fatal(err)
		}
		var said []string
		status, err := tools.Compare(t.Context(), faultyEnv(&words{}, c.f), tools.CompareOptions{
			First: tools.Source{Filename: "faulty:", Format: "raw"}, Second: tools.Source{Filename: name, Format: "raw"},
			Say: func(text string) { said = append(said, text) },
		})
		if err != nil {
			said = append(said, err.Error())
		}
		if got := strings.Join(said, "|"); status != c.status || got != c.said {
			t.Errorf("%s: status %d, %q; want %d, %q", c.name, status, got, c.status, c.said)
		}
	}
}

func TestDDTellsErrorsAndSkips(t *testing.T) {
	f := &faulty{content: noisy(4 << 20), bad: map[int64]bool{5000: true}, blind: -1}
	run := func(o tools.DDOptions) ([]byte, string, error) {
		said := ""
		o.Input, o.Output, o.OutputFormat = tools.Source{Filename: "faulty:", Format: "raw"}, filepath.Join(t.TempDir(), "o"), "raw"
		o.Say = func(text string) { said = text }
		err := tools.DD(t.Context(), faultyEnv(&words{}, f), o)
		out, _ := os.ReadFile(o.Output)
		return out, said, err
	}
	if _, _, err := run(tools.DDOptions{BlockSize: 512, Count: -1}); err == nil ||
		err.Error() != "error while reading from input image file: Input/output error" {
		t.Error(err)
	}
	if out, _, err := run(tools.DDOptions{BlockSize: 1000, Count: 5, Skip: 2}); err != nil || len(out) != 3072 ||
		!bytes.Equal(out[:3000], f.content[2000:5000]) {
		t.Errorf("%v, %d bytes", err, len(out))
	}
	for _, skip := range []int64{9, 1 << 62} {
		if out, said, err := run(tools.DDOptions{BlockSize: 1 << 20, Count: -1, Skip: skip}); err != nil || len(out) != 0 ||
			said != "faulty:: cannot skip to specified offset" {
			t.Errorf("%v, %d bytes, %q", err, len(out), said)
		}
	}
}
