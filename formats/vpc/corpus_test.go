package vpc_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"platter/chain"
	"platter/integration/programs"
)

// TestPublishedChain reads a differencing image and its parent, both with a wrong checksum, which QEMU refuses and
// libvhdi reads.
func TestPublishedChain(t *testing.T) {
	corpus := os.Getenv("PLATTER_CORPUS")
	if corpus == "" {
		corpus = filepath.Join(programs.Root(), "..", "shared", "corpus")
	}
	dir := t.TempDir()
	for from, name := range map[string]string{"dfvfs-badsum": "image.vhd", "dfvfs-badsum-diff": "image-differential.vhd"} {
		b, err := os.ReadFile(filepath.Join(corpus, from, name))
		if err != nil {
			b, err = os.ReadFile(filepath.Join(corpus, "dfvfs-badsum", name))
		}
		if err != nil {
			t.Skipf("no corpus: %v", err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, base := range []string{"image.vhd", "image-differential.vhd"} {
		name := filepath.Join(dir, base)
		if n, err := openVPC(t, name, 0); err == nil {
			n.Close()
			t.Errorf("%s: opened where QEMU refuses", base)
		}
		n, err := chain.Open(context.Background(), beyondEnv(), chain.Request{Filename: name, Format: "vpc"})
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, n.Size())
		if err := n.ReadAt(context.Background(), got, 0); err != nil {
			t.Error(err)
		}
		n.Close()
		if want := programs.ReadThrough(t, "vhdimount", name); !bytes.Equal(got, want) {
			t.Errorf("%s: libvhdi reads something else", base)
		}
	}
}
