package parentpath

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWindows(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	abs := func(p string) string { return strings.ReplaceAll(filepath.Join(here, p), "/", `\`) }
	for _, c := range []struct{ image, parent, relative, absolute string }{
		{"child", "base", `.\base`, abs("base")},
		{"a/child", "a/base", `.\base`, abs("a/base")},
		{"a/child", "b/base", `..\b\base`, abs("b/base")},
		{"/x/y/child", "/x/z/base", `..\z\base`, `\x\z\base`},
		{"file:/x/child", "/x/sub/base", `.\sub\base`, `\x\sub\base`},
		{"store:child", "store:base", `.\base`, ""},
		{"child", "..base", `.\..base`, abs("..base")},
	} {
		relative, absolute, err := Windows(c.image, c.parent)
		if err != nil || relative != c.relative || absolute != c.absolute {
			t.Errorf("%s of %s: %q, %q, %v; want %q, %q", c.parent, c.image, relative, absolute, err, c.relative, c.absolute)
		}
	}
	for image, parent := range map[string]string{"child": "nbd://host/x", "a": `x\y`, "http://h/a": "b", "/a/b/c": `/x\y/z`} {
		if r, _, err := Windows(image, parent); err == nil {
			t.Errorf("%s of %s: %q, want an error", parent, image, r)
		}
	}
}

func TestLocal(t *testing.T) {
	for in, want := range map[string]string{`.\a\b`: "./a/b", `C:\x\y`: "/x/y", "plain": "plain", "": ""} {
		if got := Local(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
