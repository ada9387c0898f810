package layout

import (
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestPackageComment(t *testing.T) {
	for _, p := range packages(t) {
		all := slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles)
		if !slices.Contains(all, "doc.go") {
			t.Errorf("%s has no doc.go", p.rel)
		}
	}
	for _, s := range files(t) {
		if path.Base(s.name) == "doc.go" && (s.file.Doc == nil || len(s.file.Doc.Text()) < 40) {
			t.Errorf("%s: no package comment to speak of", s.name)
		}
	}
}

func TestExportedNamesAreDocumented(t *testing.T) {
	for _, s := range files(t) {
		if s.test || s.inPkg.Name == "main" {
			continue
		}
		for _, d := range s.file.Decls {
			for _, n := range undocumented(d) {
				t.Errorf("%s:%d: %s is exported and has no comment", s.name, s.line(n), n.Name)
			}
		}
	}
}

// undocumented lists the exported names of a declaration that no comment covers.
func undocumented(d ast.Decl) []*ast.Ident {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && exportedReceiver(d) {
			return []*ast.Ident{d.Name}
		}
	case *ast.GenDecl:
		if d.Tok == token.IMPORT || d.Doc != nil {
			return nil
		}
		var bare []*ast.Ident
		for _, spec := range d.Specs {
			bare = append(bare, undocumentedSpec(spec)...)
		}
		return bare
	}
	return nil
}

func undocumentedSpec(spec ast.Spec) []*ast.Ident {
	var names []*ast.Ident
	switch s := spec.(type) {
	case *ast.TypeSpec:
		if s.Doc == nil && s.Comment == nil {
			names = []*ast.Ident{s.Name}
		}
	case *ast.ValueSpec:
		if s.Doc == nil && s.Comment == nil {
			names = s.Names
		}
	}
	return slices.DeleteFunc(slices.Clone(names), func(n *ast.Ident) bool { return !n.IsExported() })
}

// exportedReceiver says whether a function is one or a method of an exported type: the methods of an unexported type
// are documented by the interface that they fulfil.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.IndexExpr:
			typ = x.X
		case *ast.IndexListExpr:
			typ = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return true
		}
	}
}

// Built from halves, so that this file does not match itself.
var unfinished = regexp.MustCompile(`\b(` + strings.Join([]string{"TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"}, "|") + `)\b`)

func TestUnfinishedWords(t *testing.T) {
	for _, s := range files(t) {
		for _, g := range s.file.Comments {
			if w := unfinished.FindString(g.Text()); w != "" {
				t.Errorf("%s:%d: %s in a comment", s.name, s.line(g), w)
			}
		}
	}
}

var vague = []string{"util", "utils", "common", "helper", "helpers", "manager", "base", "misc", "shared", "lib"}

func TestVagueNames(t *testing.T) {
	for _, p := range packages(t) {
		for _, part := range strings.Split(p.rel, "/") {
			if slices.Contains(vague, part) {
				t.Errorf("%s: %q says nothing about what is inside", p.rel, part)
			}
		}
	}
	for _, s := range files(t) {
		stem := strings.TrimSuffix(strings.TrimSuffix(path.Base(s.name), ".go"), "_test")
		if slices.Contains(vague, stem) {
			t.Errorf("%s: %q says nothing about what is inside", s.name, stem)
		}
	}
}

func TestNoInit(t *testing.T) {
	for _, s := range files(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s:%d: init: what runs is called from main", s.name, s.line(f))
			}
		}
	}
}
