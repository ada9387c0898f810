package vpc_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"platter/chain"
	"platter/formats"
	"platter/formats/option"
)

const diskSize = 6 << 20

// makeImage creates a dynamic image.
func makeImage(t testing.TB, name string) {
	t.Helper()
	env := testEnv()
	err := chain.Create(context.Background(), env, chain.CreateRequest{
		Filename: name, Driver: env.Registry.Find("vpc"), Options: &option.Values{}, Size: diskSize})
	if err != nil {
		t.Fatal(err)
	}
}

// makeChild turns a new dynamic image into a differencing one of parent, as Hyper-V lays it out: a locator with the
// relative path behind the table.
func makeChild(t testing.TB, name, parent, path string) {
	t.Helper()
	makeImage(t, name)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	p, err := os.ReadFile(parent)
	if err != nil {
		t.Fatal(err)
	}
	be := binary.BigEndian
	be.PutUint32(b[60:], 4)
	setSum(b[:512])
	head := b[512:1536]
	copy(head[40:56], p[68:84])
	var text []byte
	for _, w := range utf16.Encode([]rune(path)) {
		text = binary.LittleEndian.AppendUint16(text, w)
	}
	loc := head[576:]
	copy(loc, "W2ru")
	be.PutUint32(loc[4:], 512)
	be.PutUint32(loc[8:], uint32(len(text)))
	// The locator's text lies between table and footer; the table's unused blocks leave room for it.
	be.PutUint64(loc[16:], 2048)
	clear(head[36:40])
	be.PutUint32(head[36:], sum(head))
	out := append(b[:2048:2048], make([]byte, 512)...)
	copy(out[2048:], text)
	out = append(out, b[:512]...)
	if err := os.WriteFile(name, out, 0o600); err != nil {
		t.Fatal(err)
	}
}

func openVPC(t testing.TB, name string, f formats.OpenFlags) (*chain.Node, error) {
	return chain.Open(context.Background(), testEnv(), chain.Request{Filename: name, Format: "vpc", Flags: f})
}

func TestDifferencingImageShowsItsParent(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	parent, child := filepath.Join(dir, "parent.vhd"), filepath.Join(dir, "child.vhd")
	makeImage(t, parent)
	p, err := openVPC(t, parent, formats.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, p.Size())
	rng := rand.New(rand.NewPCG(1, 2))
	fillRandom := func(n *chain.Node, off, k int64) {
		buf := make([]byte, k)
		for i := range buf {
			buf[i] = byte(rng.Uint32())
		}
		if err := n.WriteAt(ctx, buf, off, 0); err != nil {
			t.Fatal(err)
		}
		copy(want[off:], buf)
	}
	fillRandom(p, 1000, 3<<20)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	makeChild(t, child, parent, `.\parent.vhd`)
	for range 3 {
		c, err := openVPC(t, child, formats.ReadWrite)
		if err != nil {
			t.Fatal(err)
		}
		if c.Backing() == nil {
			t.Fatal("the parent was not opened")
		}
		for range 20 {
			off := rng.Int64N(c.Size() - 70_000)
			fillRandom(c, off, 1+rng.Int64N(70_000))
		}
		if err := c.WriteZeroes(ctx, 1<<20, 5000, 0); err != nil {
			t.Fatal(err)
		}
		clear(want[1<<20 : 1<<20+5000])
		got := make([]byte, c.Size())
		if err := c.ReadAt(ctx, got, 0); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("content differs (%v)", err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAWrongOrMissingParentIsRefused(t *testing.T) {
	dir := t.TempDir()
	parent, other, child := filepath.Join(dir, "parent.vhd"), filepath.Join(dir, "other.vhd"), filepath.Join(dir, "child.vhd")
	makeImage(t, parent)
	makeImage(t, other)
	for path, want := range map[string]string{
		`.\other.vhd`:   "has the identifier",
		`.\missing.vhd`: "Could not open backing file: Could not open '" + filepath.Join(dir, "missing.vhd") + "': No such file",
	} {
		makeChild(t, child, parent, path)
		if n, err := openVPC(t, child, 0); err == nil {
			n.Close()
			t.Errorf("%s: opened", path)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

// TestMacintoshLocator: a parent that only a URL names is looked for beside the image.
func TestMacintoshLocator(t *testing.T) {
	dir := t.TempDir()
	parent, child := filepath.Join(dir, "the parent.vhd"), filepath.Join(dir, "child.vhd")
	makeImage(t, parent)
	makeChild(t, child, parent, "x")
	b, err := os.ReadFile(child)
	if err != nil {
		t.Fatal(err)
	}
	const name = "file://localhost/Users/x/the%20parent.vhd"
	copy(b[512+576:], "MacX")
	binary.BigEndian.PutUint32(b[512+576+8:], uint32(len(name)))
	copy(b[2048:], name)
	if err := os.WriteFile(child, b, 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := openVPC(t, child, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if got := n.Backing().Filename(); got != parent {
		t.Errorf("the parent is %s", got)
	}
}
