package vhdx

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf16"

	"platter/chain"
	"platter/formats"
	"platter/formats/formatstest"
	"platter/formats/raw"
)

const childSize = 5*mib + 8192

// storeEnv is an environment over files in memory.
func storeEnv(store *formatstest.Store) *chain.Env {
	e := env(&strings.Builder{})
	e.Registry = formats.NewRegistry(store.Driver(), raw.Driver(), Driver())
	return e
}

func openIn(store *formatstest.Store, base, format string, flags formats.OpenFlags) (*chain.Node, error) {
	return chain.Open(context.Background(), storeEnv(store),
		chain.Request{Filename: formatstest.Name(base), Format: format, Flags: flags})
}

func mustOpenIn(t testing.TB, store *formatstest.Store, base, format string, flags formats.OpenFlags) *chain.Node {
	t.Helper()
	n, err := openIn(store, base, format, flags)
	if err != nil {
		t.Fatalf("%s: %v", base, err)
	}
	return n
}

// newImage lays out an image whose blocks are all not present; with links it is made a differencing one.
func newImage(t testing.TB, store *formatstest.Store, base string, sector int, links map[string]string) {
	t.Helper()
	ctx := context.Background()
	store.Put(base, make([]byte, mib))
	n := mustOpenIn(t, store, base, "raw", readWrite)
	defer n.Close()
	v, err := Driver().CreateOpts.Parse("block_size=1M,block_state_zero=off")
	if err != nil {
		t.Fatal(err)
	}
	if err := create(ctx, formats.CreateArgs{File: n, Size: childSize, Options: v}); err != nil {
		t.Fatal(err)
	}
	put := func(off int64, p []byte) {
		if err := n.WriteAt(ctx, p, off, 0); err != nil {
			t.Fatal(err)
		}
	}
	le := binary.LittleEndian
	put(valueAt+32, le.AppendUint32(nil, uint32(sector)))
	if links == nil {
		return
	}
	loc := append(guidParentVHDX[:], 0, 0, byte(len(links)), 0)
	texts := []byte{}
	for k, val := range links {
		at := uint32(20 + 12*len(links) + len(texts))
		key, value := utf16.Encode([]rune(k)), utf16.Encode([]rune(val))
		for _, u := range append(key, value...) {
			texts = le.AppendUint16(texts, u)
		}
		loc = le.AppendUint32(le.AppendUint32(loc, at), at+uint32(len(key)*2))
		loc = le.AppendUint16(le.AppendUint16(loc, uint16(len(key)*2)), uint16(len(value)*2))
	}
	loc = append(loc, texts...)
	put(valueAt+4, []byte{flagParent})
	put(metaAt+10, []byte{6})
	e := bytes.Clone(guidParent[:])
	for _, f := range []uint32{tableSize + 256, uint32(len(loc)), itemRequired, 0} {
		e = le.AppendUint32(e, f)
	}
	put(metaAt+32+5*32, e)
	put(valueAt+256, loc)
}

// family makes a parent with content and a child of it, and returns what the child reads as.
func family(t testing.TB, sector int) (*formatstest.Store, []byte) {
	t.Helper()
	ctx := context.Background()
	store := formatstest.NewStore()
	newImage(t, store, "parent.vhdx", sector, nil)
	n := mustOpenIn(t, store, "parent.vhdx", "vhdx", readWrite)
	want := make([]byte, childSize)
	rng := rand.New(rand.NewPCG(1, 2))
	for _, s := range []span{{0, 100 << 10}, {mib, 3 * mib}, {childSize - 4096, childSize}} {
		for i := s.start; i < s.end; i++ {
			want[i] = byte(rng.Uint32())
		}
		if err := n.WriteAt(ctx, want[s.start:s.end], int64(s.start), 0); err != nil {
			t.Fatal(err)
		}
	}
	p, _ := formats.As[*image](n)
	g := p.dataGUID()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	newImage(t, store, "child.vhdx", sector, map[string]string{
		"parent_linkage": "{" + g.String() + "}", "relative_path": `.\parent.vhdx`,
		"absolute_win32_path": `C:\elsewhere\parent.vhdx`})
	return store, want
}

func wantContent(t testing.TB, n *chain.Node, want []byte, when string) {
	t.Helper()
	got := make([]byte, n.Size())
	if err := n.ReadAt(context.Background(), got, 0); err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%s: content differs at %d", when, i)
		}
	}
}

func TestDifferencing(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		store, want := family(t, sector)
		parent := store.Bytes("parent.vhdx")
		ctx, rng := context.Background(), rand.New(rand.NewPCG(3, uint64(sector)))
		n := mustOpenIn(t, store, "child.vhdx", "vhdx", readWrite)
		wantContent(t, n, want, "a new child")
		for step := range 150 {
			off := rng.Int64N(childSize)
			k := min(1+rng.Int64N(1<<rng.IntN(22)), childSize-off)
			p := bytes.Repeat([]byte{byte(step + 1)}, int(k))
			var err error
			switch rng.IntN(8) {
			case 0:
				clear(p)
				err = n.WriteZeroes(ctx, off, k, formats.MayUnmap)
			case 1:
				if err = n.Close(); err == nil {
					n = mustOpenIn(t, store, "child.vhdx", "vhdx", readWrite)
				}
				copy(p, want[off:])
			default:
				err = n.WriteAt(ctx, p, off, 0)
			}
			if err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
			copy(want[off:], p)
			if step%10 == 0 {
				wantContent(t, n, want, "while it is written")
			}
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		n = mustOpenIn(t, store, "child.vhdx", "vhdx", 0)
		wantContent(t, n, want, "in the end")
		n.Close()
		if !bytes.Equal(parent, store.Bytes("parent.vhdx")) {
			t.Error("the parent has been changed")
		}
	}
}

// TestDifferencingStatus: what only the parent has is not in this layer.
func TestDifferencingStatus(t *testing.T) {
	store, want := family(t, 512)
	ctx := context.Background()
	n := mustOpenIn(t, store, "child.vhdx", "vhdx", readWrite)
	defer n.Close()
	if err := n.WriteAt(ctx, bytes.Repeat([]byte{9}, 1024), mib+512, 0); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		off, n int64
		here   bool
	}{{0, mib + 512, false}, {mib + 512, 1024, true}, {mib + 1536, childSize - mib - 1536, false}} {
		e, err := n.Unwrap().Status(ctx, c.off, childSize-c.off)
		for err == nil && e.Len < c.n && !c.here { // runs end with blocks
			var more formats.Extent
			more, err = n.Unwrap().Status(ctx, c.off+e.Len, c.n-e.Len)
			if more.State != 0 {
				break
			}
			e.Len += more.Len
		}
		if err != nil || e.Len != c.n || (e.State == formats.Data) != c.here {
			t.Errorf("status at %d: %+v, %v", c.off, e, err)
		}
	}
	copy(want[mib+512:], bytes.Repeat([]byte{9}, 1024))
	wantContent(t, n, want, "after one write")
}

// TestDifferencingCrash: after a crash the sectors that were flushed are there, the others are old or new.
func TestDifferencingCrash(t *testing.T) {
	store, want := family(t, 512)
	ctx := context.Background()
	n := mustOpenIn(t, store, "child.vhdx", "vhdx", readWrite)
	type state struct {
		at    int
		sure  []byte
		maybe []byte
	}
	var states []state
	start := store.Events()
	for i := range int64(8) {
		next := bytes.Clone(want)
		off, k := i*1700*512%childSize, min(int64(700*512), childSize-i*1700*512%childSize)
		for j := range k {
			next[off+j] = byte(i + 1)
		}
		states = append(states, state{store.Events(), want, next})
		if err := n.WriteAt(ctx, next[off:off+k], off, 0); err != nil {
			t.Fatal(err)
		}
		if err := n.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		want = next
		states = append(states, state{store.Events(), want, want})
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	for k := start; k <= store.Events(); k++ {
		s := state{start, states[0].sure, states[0].maybe}
		for _, c := range states {
			if c.at <= k {
				s = c
			}
		}
		after := store.Crash(k, rand.New(rand.NewPCG(uint64(k), 9)))
		n := mustOpenIn(t, after, "child.vhdx", "vhdx", readWrite)
		got := make([]byte, childSize)
		if err := n.ReadAt(ctx, got, 0); err != nil {
			t.Fatal(err)
		}
		for i := 0; i < childSize; i += 512 {
			if p := got[i : i+512]; !bytes.Equal(p, s.sure[i:i+512]) && !bytes.Equal(p, s.maybe[i:i+512]) {
				t.Fatalf("crash after event %d: sector %d is neither old nor new", k, i/512)
			}
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestParentChanged: a parent that was written since is refused.
func TestParentChanged(t *testing.T) {
	store, _ := family(t, 512)
	n := mustOpenIn(t, store, "parent.vhdx", "vhdx", readWrite)
	if err := n.WriteAt(context.Background(), []byte{1}, 0, 0); err != nil {
		t.Fatal(err)
	}
	n.Close()
	n, err := openIn(store, "child.vhdx", "vhdx", 0)
	if err == nil {
		n.Close()
		t.Fatal("opened")
	}
	if !strings.Contains(err.Error(), "parent has been changed") {
		t.Error(err)
	}
	store, _ = family(t, 512)
	store.Put("parent.vhdx", nil)
	if _, err := openIn(store, "child.vhdx", "vhdx", 0); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("an empty parent: %v", err)
	}
}

// TestNoCommit: what would cut the image off from its parent is refused, and both stay as they were.
func TestNoCommit(t *testing.T) {
	store, want := family(t, 512)
	n := mustOpenIn(t, store, "child.vhdx", "vhdx", readWrite)
	defer n.Close()
	parent := store.Bytes("parent.vhdx")
	if err := n.ReopenBacking(context.Background(), storeEnv(store), true); err == nil || !strings.Contains(err.Error(), "cannot be committed") {
		t.Errorf("reopening the parent for writing: %v", err)
	}
	wantContent(t, n, want, "after that")
	if !bytes.Equal(parent, store.Bytes("parent.vhdx")) {
		t.Error("the parent has been changed")
	}
}

func TestLinkage(t *testing.T) {
	g := newGUID()
	for value, want := range map[string]bool{"{" + g.String() + "}": true, strings.ToUpper(g.String()): true, "": false,
		newGUID().String(): false} {
		if l := (&locator{map[string]string{"parent_linkage": value}}); l.links(g) != want {
			t.Errorf("%q links to %s: %v", value, g, !want)
		}
	}
	for want, values := range map[string]map[string]string{
		"../base/p.vhdx": {"relative_path": `..\base\p.vhdx`, "absolute_win32_path": `C:\x\q.vhdx`},
		"p.vhdx":         {"relative_path": `.\p.vhdx`},
		"q.vhdx":         {"absolute_win32_path": `C:\x\q.vhdx`},
		"r.vhdx":         {"volume_path": `\\?\Volume{26a21bda}\r.vhdx`},
		"":               {},
	} {
		if got := (&locator{values}).name(); got != want {
			t.Errorf("%v: name %q, want %q", values, got, want)
		}
	}
}

// TestSectors4096 is a disk with large sectors: a chunk has eight times the blocks.
func TestSectors4096(t *testing.T) {
	store := formatstest.NewStore()
	newImage(t, store, "a.vhdx", 4096, nil)
	n := mustOpenIn(t, store, "a.vhdx", "vhdx", readWrite)
	want := make([]byte, childSize)
	copy(want[3*mib-5:], "0123456789")
	if err := n.WriteAt(context.Background(), want[3*mib-5:3*mib+5], 3*mib-5, 0); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n = mustOpenIn(t, store, "a.vhdx", "vhdx", 0)
	defer n.Close()
	wantContent(t, n, want, "read again")
}
