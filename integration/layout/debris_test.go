package layout

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What the tree consists of, by the ends and by the names of files.
var (
	fileKinds = []string{".go", ".md", ".sh", ".bash", ".fish", ".zsh", ".service"}
	fileNames = []string{".gitignore", "LICENSE", "LICENSE.qemu-img", "Makefile", "go.mod", "go.sum", "trace-events.txt"}
	unlisted  = []string{".git", ".ci", ".cache", "bin", "dist", "testdata"}
	ignored   = []string{".test", ".prof"} // as in .gitignore
)

// Tests and tools leave nothing in the tree: each file outside testdata is of a kind that belongs there.
func TestNoDebris(t *testing.T) {
	root, seen := filepath.Join("..", ".."), 0
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		name := d.Name()
		switch {
		case err != nil:
			return err
		case slices.Contains(unlisted, name):
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil // in a work tree of git .git is a file
		case d.IsDir():
			return nil
		}
		seen++
		kind := filepath.Ext(name)
		if !slices.Contains(fileNames, name) && !slices.Contains(fileKinds, kind) && !slices.Contains(ignored, kind) {
			t.Errorf("%s is no source: what made it should write to a temporary folder", strings.TrimPrefix(path, root+"/"))
		}
		return nil
	})
	if err != nil || seen < 100 {
		t.Fatalf("%d files seen, %v", seen, err)
	}
}
