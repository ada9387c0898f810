package dmg_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
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

type entry struct {
	ID, Image, Expect string
	Sum               string `json:"raw_sha256"`
	Size              int64  `json:"raw_size"`
}

// corpus lists the dmg images of the collection, or skips.
func corpus(t *testing.T) []entry {
	t.Helper()
	dir := os.Getenv("PLATTER_CORPUS")
	if dir == "" {
		dir = "../../../shared/corpus"
	}
	text, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Skip("no image collection: set PLATTER_CORPUS to have these tests")
	}
	var manifest struct {
		Cases []struct {
			entry
			Format string
		}
	}
	if err := json.Unmarshal(text, &manifest); err != nil {
		t.Fatal(err)
	}
	var list []entry
	for _, c := range manifest.Cases {
		if c.Format == "dmg" {
			c.Image = filepath.Join(dir, c.Image)
			list = append(list, c.entry)
		}
	}
	return list
}

func openImage(t *testing.T, name string) (*chain.Node, error) {
	env := &chain.Env{Registry: all.Registry(), Env: &formats.Env{Warn: t.Errorf, Report: t.Errorf}}
	return chain.Open(context.Background(), env, chain.Request{Filename: name})
}

// Every image reads to its digest, in pieces that end within chunks and in pieces that span many.
func TestCorpus(t *testing.T) {
	for _, c := range corpus(t) {
		for _, step := range []int64{1 << 20, 48<<10 + 512} {
			n, err := openImage(t, c.Image)
			if err != nil {
				t.Errorf("%s: %v", c.ID, err)
				break
			}
			h := sha256.New()
			for off := int64(0); off < n.Size() && err == nil; off += step {
				p := make([]byte, min(step, n.Size()-off))
				err = n.ReadAt(context.Background(), p, off)
				h.Write(p)
			}
			if got := fmt.Sprintf("%x", h.Sum(nil)); got != c.Sum || n.Size() != c.Size || err != nil {
				t.Errorf("%s in steps of %d: %d bytes %s (%v), want %d bytes %s", c.ID, step, n.Size(), got, err, c.Size, c.Sum)
			}
			n.Close()
		}
	}
}

// Damaged images are refused in stock's words. One byte after the other of the trailer is changed.
func TestStockRefusesAlike(t *testing.T) {
	qemu := programs.StockPath(t, "qemu-img")
	var good []byte
	for _, c := range corpus(t) {
		if c.ID == "nudif-zlib" {
			good, _ = os.ReadFile(c.Image)
		}
	}
	if good == nil {
		t.Skip("the collection has no nudif-zlib")
	}
	name, koly := filepath.Join(t.TempDir(), "x.dmg"), len(good)-512
	for _, at := range []int{0, 0x18, 0x28, 0x30, 0xd8, 0xe0, 0xe7, 0x1ee, 0x1f3} {
		for _, v := range []byte{0x00, 0x40, 0x80} {
			bad := append([]byte(nil), good...)
			bad[koly+at] = v
			if err := os.WriteFile(name, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(qemu, "info", name)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			cmd.Run()
			theirs := strings.TrimPrefix(strings.TrimSpace(stderr.String()), "qemu-img: Could not open '"+name+"': ")
			ours := ""
			if n, err := openImage(t, name); err != nil {
				ours = err.Error()
			} else {
				n.Close()
			}
			if ours != strings.TrimPrefix(theirs, "qemu-img: ") {
				t.Errorf("byte %#x = %#x: %q, stock says %q", at, v, ours, theirs)
			}
		}
	}
}
