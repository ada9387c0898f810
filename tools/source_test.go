package tools_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/formats/all"
	"platter/tools"
)

// words collects what a verb says on the way.
type words struct{ text strings.Builder }

func testEnv(w *words) *tools.Env {
	say := func(prefix string) func(string, ...any) {
		return func(f string, a ...any) { w.text.WriteString(prefix + fmt.Sprintf(f, a...) + "\n") }
	}
	return &tools.Env{Registry: all.Registry(), Env: &formats.Env{
		Secret: func(id string) ([]byte, error) { return nil, fmt.Errorf("No secret with id '%s'", id) },
		Object: func(string) (any, bool) { return nil, false },
		Warn:   say("warning: "), Report: say(""),
	}}
}

func TestSourceOpens(t *testing.T) {
	name := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(name, make([]byte, 4096), 0o644); err != nil {
		t.Fatal(err)
	}
	file := "driver=raw,file.driver=file,file.filename=" + name
	for _, c := range []struct {
		s           tools.Source
		err, warned string
	}{
		{s: tools.Source{Filename: name}},
		{s: tools.Source{Filename: name, Format: "raw", ForceShare: true}},
		{s: tools.Source{Filename: file, ImageOpts: true, ForceShare: true}},
		{s: tools.Source{Filename: "id=a," + file, ImageOpts: true}},
		{s: tools.Source{Filename: file + ",force-share=off", ImageOpts: true, ForceShare: true},
			err: "--force-share/-U conflicts with image options"},
		{s: tools.Source{Filename: file, ImageOpts: true, Format: "raw"},
			err: "--image-opts and --format are mutually exclusive"},
		{s: tools.Source{Filename: file + ",read-only", ImageOpts: true},
			warned: "warning: short-form boolean option 'read-only' deprecated\nPlease use read-only=on instead\n"},
		{s: tools.Source{Filename: name + "x", Format: "raw"},
			err: "Could not open '" + name + "x': Could not open '" + name + "x': No such file or directory"},
		{s: tools.Source{Filename: "x.img", ImageOpts: true},
			err: "Could not open 'x.img': Cannot find device='x.img' nor node-name='x.img'"},
	} {
		w := &words{}
		n, err := c.s.Open(context.Background(), testEnv(w), 0)
		text := ""
		if err != nil {
			text = err.Error()
		} else if err := n.Close(); err != nil {
			t.Error(err)
		}
		if text != c.err || w.text.String() != c.warned {
			t.Errorf("%+v: error %q, words %q; want %q, %q", c.s, text, w.text.String(), c.err, c.warned)
		}
	}
}

// flushes counts the flushes of an image.
type flushes struct {
	formats.Image
	formats.Writer
	n int
}

func (f *flushes) Flush(ctx context.Context) error { f.n++; return f.Image.Flush(ctx) }

func TestWriteThroughFlushesEachWrite(t *testing.T) {
	name := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(name, make([]byte, 4096), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"writeback", "writethrough"} {
		cache, ok := tools.ParseCache(mode)
		if !ok {
			t.Fatal(mode)
		}
		ctx := context.Background()
		inner, err := tools.Source{Filename: name, Format: "raw"}.Open(ctx, testEnv(&words{}), formats.ReadWrite)
		if err != nil {
			t.Fatal(err)
		}
		f := &flushes{Image: inner, Writer: inner}
		n := chain.Wrap(inner.Driver(), f, formats.ReadWrite|cache.Flags(), name)
		for off := range int64(3) {
			if err := n.WriteAt(ctx, []byte{1, 2}, off*100, 0); err != nil {
				t.Fatal(err)
			}
		}
		if want := map[string]int{"writeback": 0, "writethrough": 3}[mode]; f.n != want {
			t.Errorf("%s: %d flushes, want %d", mode, f.n, want)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		inner.Close()
	}
}

func TestMeterSkipsSmallSteps(t *testing.T) {
	var shown []float32
	m := &tools.Meter{Show: func(p float32) { shown = append(shown, p) }}
	m.Advance(0, 100)
	for range 8 {
		m.Advance(5, 20) // one percent each: shown when more than one percent has passed
	}
	m.Advance(100, 0)
	if got, want := fmt.Sprint(shown), "[0 2 4 6 8 100]"; got != want {
		t.Errorf("shown %s, want %s", got, want)
	}
	(*tools.Meter)(nil).Advance(1, 1)
}
