package vpc_test

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/formats/all"
	"platter/integration/programs"
)

func testEnv() *chain.Env {
	return &chain.Env{Registry: all.Registry(), Env: &formats.Env{
		Secret: func(string) ([]byte, error) { return nil, errors.New("no secrets here") },
		Object: func(string) (any, bool) { return nil, false },
		Warn:   func(string, ...any) {}, Report: func(string, ...any) {},
	}}
}

func stock(t *testing.T) string {
	t.Helper()
	return programs.StockPath(t, "qemu-img")
}

func sum(p []byte) uint32 {
	s := uint32(0)
	for _, b := range p {
		s += uint32(b)
	}
	return ^s
}

// setSum makes the footer's checksum right again.
func setSum(foot []byte) {
	clear(foot[64:68])
	binary.BigEndian.PutUint32(foot[64:], sum(foot[:512]))
}

func TestDamagedHeadersAsStock(t *testing.T) {
	bin, dir := stock(t), t.TempDir()
	made := filepath.Join(dir, "made")
	if out, err := exec.Command(bin, "create", "-f", "vpc", made, "10000000").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	base, err := os.ReadFile(made)
	if err != nil {
		t.Fatal(err)
	}
	u32 := func(at int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { binary.BigEndian.PutUint32(b[at:], v); return b }
	}
	u64 := func(at int, v uint64) func([]byte) []byte {
		return func(b []byte) []byte { binary.BigEndian.PutUint64(b[at:], v); return b }
	}
	creator := func(app string, size uint64) func([]byte) []byte {
		return func(b []byte) []byte { copy(b[28:32], app); return u64(48, size)(b) }
	}
	for name, damage := range map[string]func([]byte) []byte{
		"none": func(b []byte) []byte { return b }, "no cookie": u32(0, 0), "cut": func(b []byte) []byte { return b[:100] },
		"empty": func(b []byte) []byte { return nil }, "unknown type": u32(60, 9), "no cxsparse": u32(512, 0),
		"block 0": u32(544, 0), "block 3": u32(544, 3), "block 256": u32(544, 256), "block 512": u32(544, 512),
		"block 1M": u32(544, 1<<20), "1 entry": u32(540, 1), "2^31-1 entries": u32(540, 1<<31-1),
		"2^32-1 entries": u32(540, 1<<32-1), "10^8 entries": u32(540, 100_000_000), "table past the end": u64(528, 1<<40),
		"table wraps": u64(528, 1<<64-512), "block past the end": u32(1536, 5000), "header past the end": u64(16, 1<<40),
		"win": creator("win ", 5<<20), "qem2": creator("qem2", 5<<20), "vpc": creator("vpc ", 5<<20),
		"vbox": creator("vbox", 5<<20), "huge": creator("win ", 2041<<30), "larger": creator("win ", 0x1ff<<40),
	} {
		t.Run(name, func(t *testing.T) {
			b := damage(append([]byte(nil), base...))
			if len(b) >= 512 && name != "no cookie" {
				setSum(b)
			}
			img := filepath.Join(t.TempDir(), "x.vpc")
			if err := os.WriteFile(img, b, 0o600); err != nil {
				t.Fatal(err)
			}
			out, stockErr := exec.Command(bin, "info", "-f", "vpc", img).CombinedOutput()
			n, err := chain.Open(context.Background(), testEnv(), chain.Request{Filename: img, Format: "vpc"})
			if err != nil {
				if want := "qemu-img: Could not open '" + img + "': " + err.Error() + "\n"; string(out) != want {
					t.Errorf("ours %q\nstock %q", want, out)
				}
				return
			}
			defer n.Close()
			if stockErr != nil || !strings.Contains(string(out), "bytes)\n") {
				t.Fatalf("ours opens, stock: %s", out)
			}
			size := string(out[strings.Index(string(out), "(")+1:])
			if size = size[:strings.Index(size, " ")]; size != strconv.FormatInt(n.Size(), 10) {
				t.Errorf("size %d, stock %s", n.Size(), size)
			}
		})
	}
}
