package qcow2_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"platter/chain"
)

func TestCorpus(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("PLATTER_CORPUS")
	if dir == "" {
		dir = "../../../shared/corpus"
	}
	text, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Skipf("no corpus of real images in %s: set PLATTER_CORPUS", dir)
	}
	var manifest struct {
		Cases []struct {
			ID, Format, Image, Expect string
			Hash                      string `json:"raw_sha256"`
			Size                      int64  `json:"raw_size"`
		}
	}
	if err := json.Unmarshal(text, &manifest); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, c := range manifest.Cases {
		if c.Format != "qcow2" {
			continue
		}
		name := filepath.Join(dir, c.Image)
		if _, err := os.Stat(name); err != nil {
			t.Logf("%s: not unpacked", c.ID)
			continue
		}
		seen++
		t.Run(c.ID, func(t *testing.T) {
			n, err := chain.Open(context.Background(), env(nil), chain.Request{Filename: name, Format: "qcow2"})
			if c.Expect == "fail" {
				if err == nil {
					n.Close()
					t.Error("opened, must be refused")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			if c.Size != 0 && n.Size() != c.Size {
				t.Errorf("size %d, want %d", n.Size(), c.Size)
			}
			if c.Hash == "" {
				return
			}
			sum, buf := sha256.New(), make([]byte, 1<<20)
			for off := int64(0); off < n.Size(); off += int64(len(buf)) {
				part := buf[:min(int64(len(buf)), n.Size()-off)]
				if err := n.ReadAt(context.Background(), part, off); err != nil {
					t.Fatalf("read at %d: %v", off, err)
				}
				sum.Write(part)
			}
			if got := hex.EncodeToString(sum.Sum(nil)); got != c.Hash {
				t.Errorf("content %s, want %s", got, c.Hash)
			}
			checkAsStock(t, name)
		})
	}
	if seen == 0 {
		t.Error("the corpus has no qcow2 image")
	}
}

// checkAsStock compares findings and numbers of check with stock's, where it is.
func checkAsStock(t *testing.T, name string) {
	t.Helper()
	if os.Getenv("PLATTER_ORACLE") == "" {
		return
	}
	out, _ := tryStock(t, "qemu-img", "check", "-f", "qcow2", "--output=json", name)
	var want struct {
		Errors      int64 `json:"check-errors"`
		Corruptions int64
		Leaks       int64
		End         int64 `json:"image-end-offset"`
		Total       int64 `json:"total-clusters"`
		Allocated   int64 `json:"allocated-clusters"`
		Fragmented  int64 `json:"fragmented-clusters"`
		Compressed  int64 `json:"compressed-clusters"`
	}
	if err := json.Unmarshal([]byte(out[strings.Index(out, "{"):]), &want); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	_, r := ourCheck(t, name, 0)
	got := want
	got.Errors, got.Corruptions, got.Leaks, got.End = r.CheckErrors, r.Corruptions, r.Leaks, r.ImageEndOffset
	got.Total, got.Allocated, got.Fragmented, got.Compressed = r.TotalClusters, r.AllocatedClusters, r.FragmentedClusters, r.CompressedClusters
	if got != want {
		t.Errorf("check finds %+v, stock %+v", got, want)
	}
}
