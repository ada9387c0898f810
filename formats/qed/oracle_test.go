package qed_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
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

// stock finds one of the original programs.
func stock(t *testing.T, program string) string {
	t.Helper()
	return programs.StockPath(t, program)
}

func run(t *testing.T, bin string, args ...string) string {
	t.Helper()
	out, err := exec.Command(bin, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", filepath.Base(bin), args, err, out)
	}
	return string(out)
}

func openImage(t *testing.T, name string, flags formats.OpenFlags) *chain.Node {
	t.Helper()
	n, err := chain.Open(context.Background(), testEnv(), chain.Request{Filename: name, Format: "qed", Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func u32(at int, v uint32) func([]byte) {
	return func(b []byte) { binary.LittleEndian.PutUint32(b[at:], v) }
}
func u64(at int, v uint64) func([]byte) {
	return func(b []byte) { binary.LittleEndian.PutUint64(b[at:], v) }
}

func TestDamagedHeadersAsStock(t *testing.T) {
	bin, dir := stock(t, "qemu-img"), t.TempDir()
	made := filepath.Join(dir, "made")
	run(t, bin, "create", "-q", "-f", "qed", made, "10M")
	base, err := os.ReadFile(made)
	if err != nil {
		t.Fatal(err)
	}
	backing := func(off, size uint32) func([]byte) {
		return func(b []byte) { u64(16, 1)(b); u32(56, off)(b); u32(60, size)(b) }
	}
	for name, damage := range map[string]func([]byte){
		"none": func([]byte) {}, "magic": u32(0, 1), "feature": u64(16, 1<<40|2), "cluster 0": u32(4, 0),
		"cluster 3": u32(4, 3), "cluster 2^27": u32(4, 1<<27), "table 0": u32(8, 0), "table 3": u32(8, 3),
		"table 1": u32(8, 1), "table 32": u32(8, 32), "size odd": u64(48, 513), "size 2^63": u64(48, 1<<63),
		"size huge": u64(48, 1<<62), "l1 odd": u64(40, 65537), "l1 0": u64(40, 0), "l1 past the end": u64(40, 1<<40),
		"l1 wraps": u64(40, 1<<64-65536), "no header": u32(12, 0), "long header": u32(12, 2),
		"header 2^32": u32(12, 65536), "header 2^32-1": u32(12, 1<<32-1), "name outside": backing(65536, 1),
		"name wraps": backing(1<<32-1, 2), "name too long": backing(64, 4096), "long name": backing(64, 4095), "name empty": backing(64, 0),
		"cut": nil, "widest": func(b []byte) { u32(4, 1<<26)(b); u32(8, 16)(b) },
	} {
		t.Run(name, func(t *testing.T) {
			b := bytes.Clone(base)
			if damage == nil {
				b = b[:4096]
			} else {
				damage(b)
			}
			img := filepath.Join(t.TempDir(), "x.qed")
			if err := os.WriteFile(img, b, 0o600); err != nil {
				t.Fatal(err)
			}
			out, stockErr := exec.Command(bin, "info", "-f", "qed", img).CombinedOutput()
			n, err := chain.Open(context.Background(), testEnv(), chain.Request{Filename: img, Format: "qed"})
			if err != nil {
				if want := "qemu-img: Could not open '" + img + "': " + err.Error() + "\n"; string(out) != want {
					t.Errorf("ours %q\nstock %q", want, out)
				}
				return
			}
			defer n.Close()
			if size := fmt.Sprintf("(%d bytes)", n.Size()); stockErr != nil || !strings.Contains(string(out), size) {
				t.Errorf("ours opens with %s, stock: %s", size, out)
			}
		})
	}
}

// TestBothDirections writes over a backing file with one program and reads with the other.
func TestBothDirections(t *testing.T) {
	img, io := stock(t, "qemu-img"), stock(t, "qemu-io")
	dir, rng := t.TempDir(), rand.New(rand.NewPCG(1, 2))
	back, top := filepath.Join(dir, "back.raw"), filepath.Join(dir, "top.qed")
	const size = 5<<20 + 512
	want := bytes.Repeat([]byte{0xb5}, size)
	if err := os.WriteFile(back, want[:3<<20], 0o600); err != nil {
		t.Fatal(err)
	}
	clear(want[3<<20:])
	run(t, img, "create", "-q", "-f", "qed", "-b", back, "-F", "raw", "-o", "cluster_size=4k,table_size=2", top, fmt.Sprint(size))
	ctx := context.Background()
	for round := range 6 {
		var script []string
		n := openImage(t, top, formats.ReadWrite)
		for range 30 {
			off := rng.Int64N(size/512) * 512
			k := min((1+rng.Int64N(40))*512, size-off)
			v := byte(1 + rng.IntN(255))
			zero := rng.IntN(4) == 0
			if zero {
				v = 0
			}
			copy(want[off:], bytes.Repeat([]byte{v}, int(k)))
			var err error
			switch {
			case round%2 == 1 && zero:
				script = append(script, "-c", fmt.Sprintf("write -q -z %d %d", off, k))
			case round%2 == 1:
				script = append(script, "-c", fmt.Sprintf("write -q -P %d %d %d", v, off, k))
			case zero:
				err = n.WriteZeroes(ctx, off, k, 0)
			default:
				err = n.WriteAt(ctx, want[off:off+k], off, 0)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		if script != nil {
			if out := run(t, io, append([]string{"-f", "qed", top}, script...)...); out != "" {
				t.Fatal(out)
			}
		} else if round == 0 {
			if out := run(t, img, "check", "-f", "qed", top); !strings.Contains(out, "No errors") {
				t.Errorf("stock finds: %s", out)
			}
		}
		sameContent(t, img, top, want)
	}
}

// sameContent reads the image with both programs.
func sameContent(t *testing.T, bin, name string, want []byte) {
	t.Helper()
	n := openImage(t, name, 0)
	defer n.Close()
	got := make([]byte, n.Size())
	if err := n.ReadAt(context.Background(), got, 0); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("we read something else (%v)", err)
	}
	flat := filepath.Join(t.TempDir(), "flat")
	run(t, bin, "convert", "-f", "qed", "-O", "raw", name, flat)
	if got, err := os.ReadFile(flat); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("stock reads something else (%v)", err)
	}
}

// TestRepairAsStock damages tables, and compares what both programs count and leave.
func TestRepairAsStock(t *testing.T) {
	bin, io := stock(t, "qemu-img"), stock(t, "qemu-io")
	made := filepath.Join(t.TempDir(), "made")
	run(t, bin, "create", "-q", "-f", "qed", "-o", "cluster_size=4k,table_size=2", made, "10M")
	run(t, io, "-f", "qed", "-c", "write 0 40k", "-c", "write -z 64k 4k", "-c", "write 5M 12k", made)
	base, err := os.ReadFile(made)
	if err != nil {
		t.Fatal(err)
	}
	const l1 = 4096
	l2 := int(binary.LittleEndian.Uint64(base[l1:]))
	for name, damage := range map[string]func([]byte){
		"none": func([]byte) {}, "dirty": u64(16, 2), "leak": u64(l2, 0), "twice": func(b []byte) { copy(b[l2:l2+8], b[l2+8:]) },
		"outside": u64(l2+8, 1<<40), "unaligned": u64(l2+8, 513), "in the header": u64(l2, 2),
		"l1 outside": u64(l1, 1<<40), "l1 on l1": u64(l1, l1), "l1 far": u64(l1+800, 1<<50),
		"dirty and outside": func(b []byte) { u64(16, 2)(b); u64(l2+8, 1<<40)(b) },
	} {
		for _, fix := range []formats.FixMode{0, formats.FixLeaks | formats.FixErrors} {
			t.Run(fmt.Sprint(name, fix), func(t *testing.T) {
				dir := t.TempDir()
				b := bytes.Clone(base)
				damage(b)
				ours, theirs := filepath.Join(dir, "ours"), filepath.Join(dir, "theirs")
				for _, f := range []string{ours, theirs} {
					if err := os.WriteFile(f, b, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				args, flags := []string{"check", "-f", "qed", "--output=json", theirs}, formats.ForCheck
				if fix != 0 {
					args, flags = append(args, "-r", "all"), flags|formats.ReadWrite
				}
				// The exit code tells of findings; the counts are compared.
				out, _ := exec.Command(bin, args...).Output()
				n := openImage(t, ours, flags)
				c, _ := formats.As[formats.Checker](n)
				var res formats.CheckResult
				err := n.Exclusive(func() (err error) {
					res, err = c.Check(context.Background(), fix, testEnv().Env)
					return err
				})
				if cerr := n.Close(); err != nil || cerr != nil {
					t.Fatal(err, cerr)
				}
				for key, v := range map[string]int64{"corruptions": res.Corruptions, "leaks": res.Leaks,
					"corruptions-fixed": res.CorruptionsFixed, "leaks-fixed": res.LeaksFixed,
					"allocated-clusters": res.AllocatedClusters, "total-clusters": res.TotalClusters,
					"fragmented-clusters": res.FragmentedClusters} {
					if fix != 0 && (key == "corruptions" || key == "leaks" || key == "allocated-clusters" || key == "fragmented-clusters") {
						continue // stock checks once more after a repair
					}
					if has := strings.Contains(string(out), fmt.Sprintf("%q: %d", key, v)); !has && (v != 0 || strings.Contains(string(out), `"`+key+`"`)) {
						t.Errorf("%s: ours %d, stock %s", key, v, out)
					}
				}
				got, _ := os.ReadFile(ours)
				want, _ := os.ReadFile(theirs)
				if !bytes.Equal(got, want) {
					t.Error("the images differ after the check")
				}
			})
		}
	}
}
