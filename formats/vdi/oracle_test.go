package vdi_test

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/integration/programs"
)

// TestDamage holds images with a wrong field against what stock says of them, and what it finds in checks.
func TestDamage(t *testing.T) {
	bin := programs.StockPath(t, "qemu-img")
	seed := filepath.Join(t.TempDir(), "seed.vdi")
	makeImage(t, seed, "")
	if out, err := exec.Command(programs.StockPath(t, "qemu-io"), "-f", "vdi", "-c", "write 0 4M", seed).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	base, err := os.ReadFile(seed)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	for name, edit := range map[string]func(b []byte) []byte{
		"signature":            func(b []byte) []byte { b[64] = 0; return b },
		"version":              func(b []byte) []byte { b[68] = 0; return b },
		"map unaligned":        func(b []byte) []byte { b[340] = 1; return b },
		"data unaligned":       func(b []byte) []byte { b[344] = 1; return b },
		"sector size":          func(b []byte) []byte { le.PutUint32(b[360:], 4096); return b },
		"block size":           func(b []byte) []byte { le.PutUint32(b[376:], 2<<20); return b },
		"too large":            func(b []byte) []byte { le.PutUint64(b[368:], 1<<60); return b },
		"size overflows":       func(b []byte) []byte { le.PutUint64(b[368:], 1<<64-1); return b },
		"size odd":             func(b []byte) []byte { le.PutUint64(b[368:], 5<<20+100); return b },
		"too few blocks":       func(b []byte) []byte { le.PutUint32(b[384:], 5); return b },
		"too many blocks":      func(b []byte) []byte { le.PutUint32(b[384:], 1<<31); return b },
		"parent's stamp":       func(b []byte) []byte { b[440] = 1; return b },
		"map past the file":    func(b []byte) []byte { le.PutUint32(b[340:], 64<<20); return b },
		"block past the file":  func(b []byte) []byte { le.PutUint32(b[512:], 5); return b },
		"block out of range":   func(b []byte) []byte { le.PutUint32(b[512:], 77); return b },
		"block used twice":     func(b []byte) []byte { le.PutUint32(b[516:], 0); return b },
		"counter":              func(b []byte) []byte { b[388] = 9; return b },
		"file ends in map":     func(b []byte) []byte { return b[:514] },
		"file ends in header":  func(b []byte) []byte { return b[:100] },
		"file ends in a block": func(b []byte) []byte { return b[:1<<20] },
		"undone":               func(b []byte) []byte { le.PutUint32(b[512:], 0xfffffffe); return b },
	} {
		t.Run(name, func(t *testing.T) {
			img := filepath.Join(t.TempDir(), "x.vdi")
			if err := os.WriteFile(img, edit(append([]byte(nil), base...)), 0o600); err != nil {
				t.Fatal(err)
			}
			out, stockErr := exec.Command(bin, "info", "-f", "vdi", img).CombinedOutput()
			n, _, err := open(img, 0, chain.RefsAny)
			if err != nil {
				if want := "qemu-img: Could not open '" + img + "': " + err.Error() + "\n"; string(out) != want {
					t.Errorf("ours  %q\nstock %q", want, out)
				}
				return
			}
			if stockErr != nil {
				n.Close()
				t.Fatalf("ours opens, stock: %s", out)
			}
			n.Close()
			checkAsStock(t, bin, img)
		})
	}
}

// checkAsStock compares what a check reports.
func checkAsStock(t *testing.T, bin, img string) {
	t.Helper()
	out, _ := exec.Command(bin, "check", "-f", "vdi", img).CombinedOutput()
	var said strings.Builder
	e := env(&said, chain.RefsAny)
	n, err := chain.Open(t.Context(), e, chain.Request{Filename: img, Format: "vdi", Flags: formats.ForCheck})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	c, _ := formats.As[formats.Checker](n)
	if _, err := c.Check(t.Context(), 0, e.Env); err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(said.String()) {
		if !strings.Contains(string(out), line) {
			t.Errorf("ours  %qstock %q", line, out)
		}
	}
	if found := strings.Count(string(out), "ERROR:"); found != strings.Count(said.String(), "ERROR:") {
		t.Errorf("stock finds %d errors, ours %q", found, said.String())
	}
}
