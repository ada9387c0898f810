package corpus

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"platter/integration/programs"
)

// image is a case of manifest.json, whose "doc" explains the fields.
type image struct {
	ID, Format, Image, Expect string
	Info                      map[string]any
	OpenFmt                   string   `json:"open_fmt"`
	Prep                      []string `json:"prep"`
	Passphrase                string
	QemuMessage               string `json:"qemu_message"`
	RawSize                   int64  `json:"raw_size"`
	RawSHA256                 string `json:"raw_sha256"`
	SparseSHA256              string `json:"sparse_sha256"`
	Files                     []member
}

// member is a file of an image as its source has it, perhaps compressed.
type member struct {
	Name         string
	Unpack       string // gzip, bzip2, xz or nothing
	UnpackedName string `json:"unpacked_name"`
}

func folder(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("PLATTER_CORPUS")
	if dir == "" {
		dir = filepath.Join(programs.Root(), "..", "shared", "corpus")
	}
	if _, err := os.Stat(filepath.Join(dir, "manifest.json")); err != nil {
		t.Skipf("no corpus: %v (PLATTER_CORPUS names its folder)", err)
	}
	return dir
}

func load(t *testing.T, dir string) []image {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m struct{ Cases []image }
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	if len(m.Cases) == 0 {
		t.Fatal("manifest.json has no cases")
	}
	return m.Cases
}
