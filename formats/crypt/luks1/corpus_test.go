package luks1

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func corpus(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("PLATTER_CORPUS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "corpus")
	}
	file := filepath.Join(dir, name)
	if _, err := os.Stat(file); err != nil {
		t.Skipf("the corpus is absent: %v (PLATTER_CORPUS names its folder)", err)
	}
	return file
}

// A container made by an old cryptsetup; the digest of its contents is the corpus's.
func TestOldCryptsetup(t *testing.T) {
	p, err := exec.Command("xz", "-dc", corpus(t, "cs-compat/compatimage.img.xz")).Output()
	if err != nil {
		t.Skipf("xz: %v", err)
	}
	v, err := open(&disk{p}, "compatkey")
	if err != nil {
		t.Fatal(err)
	}
	data := p[v.PayloadOffset():]
	if len(data) != 9711616 {
		t.Errorf("%d bytes of data", len(data))
	}
	if err := v.Block().Decrypt(0, data); err != nil {
		t.Fatal(err)
	}
	const want = "7428e8f2436882a07eb32765086f5c899474c08b5576f556b573d2aabdf923e8"
	if got := fmt.Sprintf("%x", sha256.Sum256(data)); got != want {
		t.Errorf("contents %s, want %s", got, want)
	}
}

func TestHostileCorpus(t *testing.T) {
	for name, want := range map[string]string{
		"cs-evil-damage/evil_hdr-luks_hdr_damage":  "Keyslots 0 and 2 are overlapping in the header",
		"cs-evil-small/evil_hdr-small_luks_device": "Invalid password, cannot unlock any keyslot",
		"ul-luks1-header/luks1.img":                "unexpected EOF",
	} {
		p, err := os.ReadFile(corpus(t, name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := open(&disk{p}, "abc"); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
}
