package vhdx

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/formats/protocol/file"
	"platter/formats/qerr"
	"platter/formats/raw"
	"platter/integration/programs"
)

func oracleTool(t testing.TB, name string) string {
	t.Helper()
	return programs.StockPath(t, name)
}

// tryStock runs a stock tool and returns what it prints and its exit code.
func tryStock(t testing.TB, name string, args ...string) (string, int) {
	t.Helper()
	cmd := exec.Command(oracleTool(t, name), args...)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func stock(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, code := tryStock(t, name, args...); code != 0 {
		t.Fatalf("%s %s: exit code %d\n%s", name, strings.Join(args, " "), code, out)
	}
}

// env is a test's environment; what is reported goes to lines.
func env(lines *strings.Builder) *chain.Env {
	return &chain.Env{Registry: formats.NewRegistry(raw.Driver(), Driver(), file.Driver()), Env: &formats.Env{
		Program: "qemu-img",
		Secret:  func(string) ([]byte, error) { return nil, syscall.ENOENT },
		Object:  func(string) (any, bool) { return nil, false },
		Warn:    func(string, ...any) {},
		Report:  func(f string, a ...any) { fmt.Fprintf(lines, f+"\n", a...) },
	}}
}

func tryOpen(name string, flags formats.OpenFlags) (*chain.Node, string, error) {
	var lines strings.Builder
	n, err := chain.Open(context.Background(), env(&lines), chain.Request{Filename: name, Format: "vhdx", Flags: flags})
	if err != nil {
		fmt.Fprintf(&lines, "qemu-img: Could not open '%s': %s\n%s", name, qerr.Text(err), qerr.Hint(err))
	}
	return n, lines.String(), err
}

func mustOpen(t testing.TB, name string, flags formats.OpenFlags) *chain.Node {
	t.Helper()
	n, said, err := tryOpen(name, flags)
	if err != nil {
		t.Fatal(said)
	}
	return n
}

const readWrite = formats.ReadWrite | formats.Resize

func content(t testing.TB, n *chain.Node) []byte {
	t.Helper()
	all := make([]byte, n.Size())
	if err := n.ReadAt(context.Background(), all, 0); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	return all
}

// stockContent is what stock reads.
func stockContent(t testing.TB, name string) []byte {
	t.Helper()
	out := name + ".raw"
	stock(t, "qemu-img", "convert", "-f", "vhdx", "-O", "raw", name, out)
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(out)
	return data
}

func same(t testing.TB, ours, stocks []byte, when string) {
	t.Helper()
	if !bytes.Equal(ours, stocks) {
		t.Errorf("%s: stock and platter read different content", when)
	}
}

func TestBothDirections(t *testing.T) {
	ctx := context.Background()
	for _, o := range []string{"block_size=1M", "subformat=fixed,block_state_zero=off", "block_size=256M", "block_state_zero=off"} {
		name := filepath.Join(t.TempDir(), "a.vhdx")
		stock(t, "qemu-img", "create", "-q", "-f", "vhdx", "-o", o, name, "20000000")
		stock(t, "qemu-io", "-f", "vhdx", "-c", "write -P 7 1000k 3M", "-c", "write -P 8 19M 4k", name)
		n := mustOpen(t, name, readWrite)
		for i, off := range []int64{0, 1 << 20, 3<<20 + 100, 19_900_000} {
			if err := n.WriteAt(ctx, bytes.Repeat([]byte{byte(i + 1)}, 70000), off, 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := n.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		// Between two flushes of the writer there is no log to be replayed.
		stock(t, "qemu-img", "info", "-U", "-f", "vhdx", name)
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		stock(t, "qemu-img", "check", "-f", "vhdx", name)
		same(t, content(t, mustOpen(t, name, 0)), stockContent(t, name), o)
		stock(t, "qemu-io", "-f", "vhdx", "-c", "write -P 9 5M 2M", name)
		same(t, content(t, mustOpen(t, name, 0)), stockContent(t, name), o+" after stock wrote again")
	}
}

// image10 makes a small image by stock, with data in it, and returns its bytes.
func image10(t *testing.T) []byte {
	t.Helper()
	name := filepath.Join(t.TempDir(), "base.vhdx")
	stock(t, "qemu-img", "create", "-q", "-f", "vhdx", "-o", "block_size=1M", name, "10M")
	stock(t, "qemu-io", "-f", "vhdx", "-c", "write -P 5 0 64k", "-c", "write -P 7 3M 2M", name)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Where things are in an image of image10.
const (
	batAt   = 2 * mib
	metaAt  = 3 * mib
	valueAt = metaAt + tableSize
)

// TestDamage holds what is said of damaged images against stock.
func TestDamage(t *testing.T) {
	le := binary.LittleEndian
	head := func(b []byte, off int, v ...byte) { // in both headers
		for _, at := range headerAt {
			h := b[at : at+headerSize]
			copy(h[off:], v)
			seal(h)
		}
	}
	region := func(b []byte, off int, v uint64) {
		p := b[regionTableAt : regionTableAt+tableSize]
		le.PutUint64(p[off:], v)
		seal(p)
	}
	bat := func(b []byte, v uint64) { le.PutUint64(b[batAt:], v) }
	for name, damage := range map[string]func([]byte) []byte{
		"signature":      func(b []byte) []byte { b[0] = 0; return b },
		"header sums":    func(b []byte) []byte { b[headerAt[0]+4] ^= 1; b[headerAt[1]+4] ^= 1; return b },
		"one header":     func(b []byte) []byte { b[headerAt[1]+4] ^= 1; return b },
		"version":        func(b []byte) []byte { head(b, 66, 2); return b },
		"log version":    func(b []byte) []byte { head(b, 64, 1); return b },
		"log place":      func(b []byte) []byte { head(b, 72, 0, 16, 0); return b },
		"log length":     func(b []byte) []byte { head(b, 48, 1); head(b, 68, 0, 16, 0); return b },
		"log of nothing": func(b []byte) []byte { head(b, 48, 1); return b },
		"equal numbers": func(b []byte) []byte {
			head(b, 8, 1, 1, 1, 1)
			b[headerAt[0]+20] ^= 1
			seal(b[headerAt[0]:][:headerSize])
			return b
		},
		"region sum":       func(b []byte) []byte { b[regionTableAt+4] ^= 1; return b },
		"region count":     func(b []byte) []byte { region(b, 8, 2048); return b },
		"one region":       func(b []byte) []byte { region(b, 8, 1); return b },
		"regions overlap":  func(b []byte) []byte { region(b, 64, batAt); return b },
		"region in log":    func(b []byte) []byte { region(b, 64, mib); return b },
		"region wraps":     func(b []byte) []byte { region(b, 32, 1<<64-1<<20); return b },
		"huge BAT":         func(b []byte) []byte { region(b, 64, 9<<30); region(b, 40, 0xfffff000); return b },
		"small BAT":        func(b []byte) []byte { region(b, 40, 64); return b },
		"metadata magic":   func(b []byte) []byte { b[metaAt] = 0; return b },
		"metadata count":   func(b []byte) []byte { le.PutUint16(b[metaAt+10:], 2048); return b },
		"metadata missing": func(b []byte) []byte { le.PutUint16(b[metaAt+10:], 4); return b },
		"metadata twice":   func(b []byte) []byte { copy(b[metaAt+64:], b[metaAt+32:metaAt+48]); return b },
		"block size 0":     func(b []byte) []byte { le.PutUint32(b[valueAt:], 0); return b },
		"block size 3M":    func(b []byte) []byte { le.PutUint32(b[valueAt:], 3<<20); return b },
		"block size 512M":  func(b []byte) []byte { le.PutUint32(b[valueAt:], 512<<20); return b },
		"no parent there":  func(b []byte) []byte { b[valueAt+4] = flagParent; return b },
		"size 0":           func(b []byte) []byte { le.PutUint64(b[valueAt+8:], 0); return b },
		"size 2^62":        func(b []byte) []byte { le.PutUint64(b[valueAt+8:], 1<<62); return b },
		"odd size":         func(b []byte) []byte { le.PutUint64(b[valueAt+8:], 10<<20-100); return b },
		"sector 1024":      func(b []byte) []byte { le.PutUint32(b[valueAt+32:], 1024); return b },
		"block far away":   func(b []byte) []byte { bat(b, 1<<43|statePresent); return b },
		"block overflow":   func(b []byte) []byte { bat(b, offsetMask|statePresent); return b },
		"block in BAT":     func(b []byte) []byte { bat(b, batAt|statePresent); return b },
		"block in log":     func(b []byte) []byte { bat(b, mib|statePresent); return b },
		"block in header":  func(b []byte) []byte { bat(b, statePresent); return b },
		"state 4":          func(b []byte) []byte { bat(b, 8<<20|4); return b },
		"state 7":          func(b []byte) []byte { bat(b, 8<<20|7); return b },
		"state 5":          func(b []byte) []byte { bat(b, 8<<20|5); return b },
		"truncated":        func(b []byte) []byte { return b[:len(b)-1024] },
		"100 KiB":          func(b []byte) []byte { return b[:100<<10] },
		"512 bytes":        func(b []byte) []byte { return b[:512] },
	} {
		t.Run(name, func(t *testing.T) {
			img := filepath.Join(t.TempDir(), "a.vhdx")
			if err := os.WriteFile(img, damage(bytes.Clone(base(t))), 0o600); err != nil {
				t.Fatal(err)
			}
			n, said, err := tryOpen(img, 0)
			out, code := tryStock(t, "qemu-img", "info", "-f", "vhdx", img)
			if err != nil {
				if code == 0 || said != out {
					t.Errorf("platter says\n%sstock says (exit code %d)\n%s", said, code, out)
				}
				return
			}
			defer n.Close()
			if code != 0 {
				t.Errorf("opened; stock says\n%s", out)
			}
			_, code = tryStock(t, "qemu-img", "convert", "-f", "vhdx", "-O", "raw", img, img+".raw")
			if err := n.ReadAt(context.Background(), make([]byte, n.Size()), 0); (err == nil) != (code == 0) {
				t.Errorf("reading: %v, exit code of stock's convert %d", err, code)
			}
		})
	}
}

var baseImage []byte

func base(t *testing.T) []byte {
	if baseImage == nil {
		baseImage = image10(t)
	}
	return baseImage
}
