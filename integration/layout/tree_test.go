package layout

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// pkg is what go list -json says of a package of the module.
type pkg struct {
	ImportPath, Name, Dir              string
	GoFiles, TestGoFiles, XTestGoFiles []string
	Imports                            []string

	rel string // import path below the module, "." for the module itself
}

// tree is the whole module, listed once.
var tree = sync.OnceValues(func() ([]pkg, error) {
	if err := visit(); err != nil {
		return nil, err
	}
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Name,Dir,GoFiles,TestGoFiles,XTestGoFiles,Imports", "./...")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs, nil
		} else if err != nil {
			return nil, err
		}
		p.rel = strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		pkgs = append(pkgs, p)
	}
})

// visit reads every folder, so that go test's cache, which watches what a test opens but not what go list reads, sees a
// new file or package.
func visit() error {
	return filepath.WalkDir(filepath.Join("..", ".."), func(_ string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && slices.Contains([]string{".git", ".cache", "bin", "dist"}, d.Name()) {
			return filepath.SkipDir
		}
		return err
	})
}

const module = "platter"

func packages(t *testing.T) []pkg {
	t.Helper()
	pkgs, err := tree()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	if len(pkgs) < 2 {
		t.Fatalf("go list found %d packages only: the rules would hold for nothing", len(pkgs))
	}
	return pkgs
}

// source is one parsed file.
type source struct {
	name  string // path from the module root
	text  []byte
	fset  *token.FileSet
	file  *ast.File
	test  bool
	inPkg pkg
}

// line is where a node begins.
func (s source) line(n ast.Node) int { return s.fset.Position(n.Pos()).Line }

// lines is how many lines a node spans.
func (s source) lines(n ast.Node) int {
	return s.fset.Position(n.End()).Line - s.fset.Position(n.Pos()).Line + 1
}

var sources = sync.OnceValues(func() ([]source, error) {
	pkgs, err := tree()
	if err != nil {
		return nil, err
	}
	var all []source
	for _, p := range pkgs {
		for i, names := range [][]string{p.GoFiles, p.TestGoFiles, p.XTestGoFiles} {
			for _, name := range names {
				s, err := parse(p, name, i > 0)
				if err != nil {
					return nil, err
				}
				if !ast.IsGenerated(s.file) {
					all = append(all, s)
				}
			}
		}
	}
	return all, nil
})

func parse(p pkg, name string, test bool) (source, error) {
	path := filepath.Join(p.Dir, name)
	text, err := os.ReadFile(path)
	if err != nil {
		return source{}, err
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return source{}, err
	}
	return source{name: filepath.Join(p.rel, name), text: text, fset: fset, file: file, test: test, inPkg: p}, nil
}

func files(t *testing.T) []source {
	t.Helper()
	all, err := sources()
	if err != nil {
		t.Fatal(err)
	}
	return all
}
