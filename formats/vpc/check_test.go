package vpc_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"platter/chain"
	"platter/formats"
)

// TestCheck finds what is made wrong, and repairs the footer; who expects QEMU is told that there is no check.
func TestCheck(t *testing.T) {
	be := binary.BigEndian
	for name, c := range map[string]struct {
		damage func(b []byte) []byte
		want   formats.CheckResult
		fixed  bool
	}{
		"none":           {func(b []byte) []byte { return b }, formats.CheckResult{}, true},
		"shared block":   {func(b []byte) []byte { copy(b[1540:1544], b[1536:1540]); return b }, formats.CheckResult{Corruptions: 1, Leaks: 1}, false},
		"on the table":   {func(b []byte) []byte { be.PutUint32(b[1536:], 2); return b }, formats.CheckResult{Corruptions: 1}, false},
		"header's sum":   {func(b []byte) []byte { b[512+36]++; return b }, formats.CheckResult{Corruptions: 1}, false},
		"unused block":   {func(b []byte) []byte { be.PutUint32(b[1536:], 0xffffffff); return b }, formats.CheckResult{Leaks: 1}, false},
		"no footer":      {func(b []byte) []byte { return b[:len(b)-512] }, formats.CheckResult{Leaks: 1}, true},
		"another footer": {func(b []byte) []byte { b[len(b)-400]++; return b }, formats.CheckResult{Leaks: 1}, true},
		"rest behind":    {func(b []byte) []byte { return append(b, make([]byte, 4096)...) }, formats.CheckResult{Leaks: 1}, true},
	} {
		t.Run(name, func(t *testing.T) {
			img := filepath.Join(t.TempDir(), "x.vhd")
			makeImage(t, img)
			scribble(t, img, make([]byte, diskSize), rand.New(rand.NewPCG(9, 9)), 20)
			b, err := os.ReadFile(img)
			if err != nil {
				t.Fatal(err)
			}
			// Blocks in the order of the table, so that each case knows which comes first.
			for i := range 3 {
				be.PutUint32(b[1536+4*i:], uint32(4+i*(2<<20/512+1)))
			}
			if err := os.WriteFile(img, c.damage(b), 0o600); err != nil {
				t.Fatal(err)
			}
			check := func(fix formats.FixMode, flags formats.OpenFlags) formats.CheckResult {
				t.Helper()
				env := beyondEnv()
				n, err := chain.Open(t.Context(), env, chain.Request{Filename: img, Format: "vpc", Flags: flags})
				if err != nil {
					t.Fatal(err)
				}
				defer n.Close()
				k, _ := formats.As[formats.Checker](n)
				if _, err := k.Check(t.Context(), fix, testEnv().Env); !errors.Is(err, syscall.ENOTSUP) {
					t.Errorf("as QEMU: %v", err)
				}
				r, err := k.Check(t.Context(), fix, env.Env)
				if err != nil {
					t.Fatal(err)
				}
				r.TotalClusters, r.AllocatedClusters = 0, 0
				return r
			}
			if r := check(0, formats.ForCheck); r != c.want {
				t.Errorf("%+v, want %+v", r, c.want)
			}
			check(formats.FixLeaks, formats.ForCheck|formats.ReadWrite)
			if r := check(0, formats.ForCheck); c.fixed != (r == formats.CheckResult{}) {
				t.Errorf("after repair: %+v", r)
			}
		})
	}
}
