package layout

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// layer is a row of the import table. A package belongs to the first row that one of its prefixes names.
type layer struct {
	name  string
	roots []string // package paths; with /... the packages below as well
	may   []string // layers it may import besides itself
	// alone: the packages under one root may import each other, but not those of the layer's other roots.
	alone bool
}

var layers = []layer{
	{name: "integration", roots: []string{"integration/..."},
		may: []string{"cmd", "fusefs", "tools", "chain", "all", "formatstest", "formats", "machinery", "driver"}},
	{name: "cmd", roots: []string{"cmd/..."}, may: []string{"fusefs", "tools", "chain", "all", "formats", "machinery"}},
	{name: "fusefs", roots: []string{"fusefs/..."}, may: []string{"tools", "chain", "formats", "machinery"}},
	{name: "tools", roots: []string{"tools/..."}, may: []string{"chain", "formats", "machinery"}},
	{name: "chain", roots: []string{"chain/..."}, may: []string{"formats", "machinery"}},
	{name: "all", roots: []string{"formats/all"}, may: []string{"formats", "machinery", "driver"}},
	{name: "formatstest", roots: []string{"formats/formatstest/..."}, may: []string{"chain", "formats", "machinery", "driver"}},
	{name: "formats", roots: []string{"formats"}, may: []string{"machinery"}},
	// The machinery is bytes in, bytes out; what sits in formats/internal serves drivers and knows the contract.
	{name: "machinery", roots: []string{"formats/qobj", "formats/qerr", "formats/option", "formats/crypt/...",
		"formats/bitmap/...", "formats/codec/...", "formats/internal/..."}, may: []string{"formats"}},
	{name: "driver", roots: []string{"formats/protocol/*/...", "formats/filter/*/...", "formats/*/..."},
		may: []string{"formats", "machinery"}, alone: true},
}

// find gives the layer of a package and the root in it that owns the package.
func find(rel string) (layer, string, bool) {
	for _, l := range layers {
		for _, root := range l.roots {
			if owner, ok := under(rel, root); ok {
				return l, owner, true
			}
		}
	}
	return layer{}, "", false
}

// under says whether a package path matches a root, and which prefix of the path the root stands for.
func under(rel, root string) (owner string, ok bool) {
	pattern, deep := strings.CutSuffix(root, "/...")
	want, have := strings.Split(pattern, "/"), strings.Split(rel, "/")
	if len(have) < len(want) || (!deep && len(have) != len(want)) {
		return "", false
	}
	for i, w := range want {
		if w != "*" && w != have[i] {
			return "", false
		}
	}
	return strings.Join(have[:len(want)], "/"), true
}

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		from, owner, ok := find(p.rel)
		if !ok {
			t.Errorf("%s: in no layer of the import table", p.rel)
			continue
		}
		for _, imp := range p.Imports {
			rel, inside := strings.CutPrefix(imp, module+"/")
			if !inside {
				continue
			}
			to, toOwner, ok := find(rel)
			if !ok {
				t.Errorf("%s imports %s, which is in no layer", p.rel, rel)
			} else if why := refused(from, owner, to, toOwner); why != "" {
				t.Errorf("%s imports %s: %s", p.rel, rel, why)
			}
		}
	}
}

// refused gives the reason why an import is wrong, "" if it is right.
func refused(from layer, owner string, to layer, toOwner string) string {
	if from.name == to.name {
		if from.alone && owner != toOwner {
			return "a " + from.name + " imports no other " + from.name
		}
		return ""
	}
	for _, m := range from.may {
		if m == to.name {
			return ""
		}
	}
	return from.name + " must not import " + to.name
}

func TestImportTable(t *testing.T) {
	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{"cmd/platter", "tools/render", true},
		{"cmd/platter", "formats/all", true},
		{"cmd/platter", "formats/qcow2", false},
		{"tools", "formats/all", false},
		{"tools/copier", "chain", true},
		{"tools", "fusefs", false},
		{"chain", "tools", false},
		{"chain", "formats/raw", false},
		{"formats", "formats/qobj", true},
		{"formats", "formats/raw", false},
		{"formats/qcow2", "formats/internal/tablecache", true},
		{"formats/qcow2", "formats/luks", false},
		{"formats/qcow2", "chain", false},
		{"formats/protocol/file", "formats/protocol/null", false},
		{"formats/protocol/nbd/wire", "formats/protocol/nbd", true},
		{"formats/qcow2", "formats/formatstest", false},
		{"formats/all", "formats/qcow2", true},
	} {
		from, owner, ok1 := find(c.from)
		to, toOwner, ok2 := find(c.to)
		if why := refused(from, owner, to, toOwner); !ok1 || !ok2 || (why == "") != c.ok {
			t.Errorf("%s -> %s: %q, want allowed %v", c.from, c.to, why, c.ok)
		}
	}
}

var required = regexp.MustCompile(`(?m)^(?:require )?\s*([a-z0-9.-]+\.[a-z]+/\S+) v\S+$`)

// Each direct dependency has its reason in README.md.
func TestDependenciesAreExplained(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join("..", "..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range required.FindAllStringSubmatch(string(mod), -1) {
		if !strings.Contains(string(readme), m[1]) {
			t.Errorf("README.md does not say what %s is for", m[1])
		}
	}
}
