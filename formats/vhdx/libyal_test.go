package vhdx

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"platter/integration/programs"
)

// TestLibvhdi lets libvhdi's vhdimount read a differencing image and its parent, as a second opinion.
func TestLibvhdi(t *testing.T) {
	store, want := family(t, 512)
	n := mustOpenIn(t, store, "child.vhdx", "vhdx", readWrite)
	for i, off := range []int64{512, mib + 1024, 3*mib - 512, 4 * mib} {
		p := []byte(strings.Repeat(string(rune('a'+i)), 70*512))
		if err := n.WriteAt(t.Context(), p, off, 0); err != nil {
			t.Fatal(err)
		}
		copy(want[off:], p)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, base := range []string{"parent.vhdx", "child.vhdx"} {
		if err := os.WriteFile(filepath.Join(dir, base), store.Bytes(base), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := programs.ReadThrough(t, "vhdimount", filepath.Join(dir, "child.vhdx"))
	if !bytes.Equal(got, want) {
		t.Errorf("libvhdi reads something else (%d bytes of %d)", len(got), len(want))
	}
}
