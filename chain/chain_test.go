package chain_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/formats/all"
	"platter/formats/option"
	"platter/formats/qobj"
)

// testEnv is an environment whose warnings fail the test unless they are expected.
func testEnv(t *testing.T, warnings *[]string) *chain.Env {
	t.Helper()
	return &chain.Env{Registry: all.Registry(), Env: &formats.Env{
		Secret: func(id string) ([]byte, error) { return nil, errors.New("no secret " + id) },
		Object: func(string) (any, bool) { return nil, false },
		Warn: func(f string, a ...any) {
			if warnings == nil {
				t.Errorf("unexpected warning: %s", f)
				return
			}
			*warnings = append(*warnings, f)
		},
		Report: func(f string, a ...any) { t.Errorf("unexpected report: "+f, a...) },
	}}
}

func makeRaw(t *testing.T, size int64) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk.raw")
	env := testEnv(t, nil)
	err := chain.Create(context.Background(), env, chain.CreateRequest{
		Filename: name, Driver: env.Registry.Find("raw"), Options: &option.Values{}, Size: size})
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func TestRawReadsBackWhatWasWritten(t *testing.T) {
	ctx, name := context.Background(), makeRaw(t, 1<<20)
	n, err := chain.Open(ctx, testEnv(t, nil), chain.Request{Filename: name, Format: "raw", Flags: formats.ReadWrite | formats.Unmap})
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte("platter!"), 1000)
	if err := n.WriteAt(ctx, want, 12345, 0); err != nil {
		t.Fatal(err)
	}
	if err := n.WriteZeroes(ctx, 12345, 8, 0); err != nil {
		t.Fatal(err)
	}
	clear(want[:8])
	if err := n.WriteAt(ctx, want, 1<<20-10, 0); !errors.Is(err, syscall.EIO) {
		t.Errorf("write past the end: %v, want EIO", err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(name)
	if err != nil || len(got) != 1<<20 {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if !bytes.Equal(got[12345:12345+len(want)], want) {
		t.Error("content differs")
	}
}

func TestProbedRawGuardsItsFirstSector(t *testing.T) {
	ctx, name := context.Background(), makeRaw(t, 1<<20)
	var warnings []string
	env := testEnv(t, nil)
	env.Report = func(f string, a ...any) { warnings = append(warnings, fmt.Sprintf(f, a...)) }
	n, err := chain.Open(ctx, env, chain.Request{Filename: name, Flags: formats.ReadWrite})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if len(warnings) != 1 || !strings.HasPrefix(warnings[0], "WARNING: Image format was not specified") {
		t.Errorf("warnings %q", warnings)
	}
	if err := n.WriteAt(ctx, []byte("plain"), 3, 0); err != nil {
		t.Error(err)
	}
}

func TestErrorsAreQEMUs(t *testing.T) {
	name := makeRaw(t, 4096)
	for _, c := range []struct {
		req  chain.Request
		want string
	}{
		{chain.Request{Filename: name + "x"}, "Could not open '" + name + "x': No such file or directory"},
		{chain.Request{Filename: name, Format: "nope"}, "Unknown driver 'nope'"},
		{chain.Request{Filename: "foo:bar"}, "Unknown protocol 'foo'"},
		{chain.Request{Filename: t.TempDir()}, "regular file"},
		{chain.Request{Filename: "json:[]"}, "Invalid JSON object given"},
		{chain.Request{Filename: `json:{"driver":"raw"}`}, `A block device must be specified for "file"`},
		{chain.Request{Filename: `json:{"driver":"file"}`}, "The 'file' block driver requires a file name"},
		{chain.Request{Filename: `json:{"driver":"raw","file.filename":"` + name + `","foo":1}`},
			"Block format 'raw' does not support the option 'foo'"},
		{chain.Request{Filename: `json:{"driver":"raw","file.filename":"` + name + `","offset":8192}`},
			"Offset (8192) cannot be greater than size of the containing file (4096)"},
	} {
		n, err := chain.Open(context.Background(), testEnv(t, nil), c.req)
		if err == nil {
			n.Close()
			t.Errorf("%+v: opened", c.req)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %q, want %q", c.req.Filename, err, c.want)
		}
	}
}

func TestWindowIsShownAsJSON(t *testing.T) {
	ctx, name := context.Background(), makeRaw(t, 4096)
	opts := qobj.NewDict()
	opts.Set("offset", int64(512))
	n, err := chain.Open(ctx, testEnv(t, nil), chain.Request{Filename: name, Format: "raw", Options: opts})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	want := `json:{"offset": 512, "driver": "raw", "file": {"driver": "file", "filename": "` + name + `"}}`
	if got := n.Filename(); got != want {
		t.Errorf("Filename %s, want %s", got, want)
	}
	if n.Size() != 3584 {
		t.Errorf("Size %d", n.Size())
	}
}

func TestASecondWriterIsLockedOut(t *testing.T) {
	ctx, name := context.Background(), makeRaw(t, 4096)
	open := func(f formats.OpenFlags) (*chain.Node, error) {
		return chain.Open(ctx, testEnv(t, nil), chain.Request{Filename: `json:{"driver":"raw","file":{"driver":"raw","file.filename":"` + name + `"}}`, Flags: f})
	}
	a, err := open(formats.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if b, err := open(0); err != nil {
		t.Errorf("raw shares with raw: %v", err)
	} else {
		b.Close()
	}
}
