package layout

import (
	"bytes"
	"go/ast"
	"go/format"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	maxFile     = 500 // lines
	maxFunction = 100 // lines, unless the comment above says why with "long:"
	maxPackage  = 30  // files without tests
)

func TestFileSizes(t *testing.T) {
	for _, s := range files(t) {
		if n := bytes.Count(s.text, []byte("\n")); n > maxFile {
			t.Errorf("%s has %d lines, the limit is %d", s.name, n, maxFile)
		}
	}
}

func TestFunctionSizes(t *testing.T) {
	for _, s := range files(t) {
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || s.lines(f) <= maxFunction {
				continue
			}
			if f.Doc == nil || !strings.Contains(f.Doc.Text(), "long:") {
				t.Errorf("%s:%d: %s has %d lines, the limit is %d (or a comment above it: \"long: why\")",
					s.name, s.line(f), f.Name.Name, s.lines(f), maxFunction)
			}
		}
	}
}

// larger packages, each with its reason.
var larger = map[string]int{
	"cmd/platter":   45, // a short file for each verb
	"formats/qcow2": 50, // a short file for each structure on disk and for what is done with it
}

func TestPackageSizes(t *testing.T) {
	for _, p := range packages(t) {
		limit := max(maxPackage, larger[p.rel])
		if n := len(p.GoFiles); n > limit {
			t.Errorf("%s has %d files, the limit is %d", p.rel, n, limit)
		}
	}
}

func TestGofmt(t *testing.T) {
	for _, s := range files(t) {
		want, err := format.Source(s.text)
		if err != nil {
			t.Errorf("%s: %v", s.name, err)
		} else if !bytes.Equal(want, s.text) {
			t.Errorf("%s is not formatted (gofmt -w)", s.name)
		}
	}
}

var topLevel = []string{
	".ci", ".gitignore", "LICENSE", "Makefile", "README.md", "chain", "cmd", "formats", "fusefs", "go.mod", "go.sum",
	"integration", "tools",
	// ignored by git
	".cache", ".git", "bin", "dist",
}

func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains(topLevel, e.Name()) {
			t.Errorf("%s does not belong at the top of the repository", e.Name())
		}
	}
}
