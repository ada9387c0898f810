package tools_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/tools"
)

// bench is a folder with images.
type bench struct {
	t   *testing.T
	ctx context.Context
	dir string
	w   *words
	env *tools.Env
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, ctx: context.Background(), dir: t.TempDir(), w: &words{}}
	b.env = testEnv(b.w)
	return b
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// create makes an image; backing is "" or the name of an image of format qcow2.
func (b *bench) create(name, format, backing string, size int64) {
	b.t.Helper()
	o := tools.CreateOptions{Filename: b.path(name), Format: format, Size: size}
	if backing != "" {
		qcow2 := "qcow2"
		o.Backing, o.BackingFormat = &backing, &qcow2
	}
	b.must(tools.Create(b.ctx, b.env, o))
}

func (b *bench) open(name, format string, flags formats.OpenFlags) *chain.Node {
	b.t.Helper()
	n, err := tools.Source{Filename: b.path(name), Format: format}.Open(b.ctx, b.env, flags)
	b.must(err)
	return n
}

func (b *bench) write(name string, fill byte, off, length int64) {
	b.t.Helper()
	n := b.open(name, "qcow2", formats.ReadWrite)
	b.must(n.WriteAt(b.ctx, bytes.Repeat([]byte{fill}, int(length)), off, 0))
	b.must(n.Close())
}

func (b *bench) content(name string) []byte {
	b.t.Helper()
	n := b.open(name, "qcow2", 0)
	p := make([]byte, n.Size())
	b.must(n.ReadAt(b.ctx, p, 0))
	b.must(n.Close())
	return p
}

func TestCreateRefusesWithoutTouching(t *testing.T) {
	for want, change := range map[string]func(o *tools.CreateOptions){
		"Unknown file format 'nope'":                  func(o *tools.CreateOptions) { o.Format = "nope" },
		"Format driver 'bochs' does not support":      func(o *tools.CreateOptions) { o.Format = "bochs" },
		"Image creation needs a size parameter":       func(o *tools.CreateOptions) { o.Size = -1 },
		"The image size must be specified only once":  func(o *tools.CreateOptions) { o.Options = "size=1M" },
		"Invalid parameter 'foo'":                     func(o *tools.CreateOptions) { o.Options = "foo=1" },
		"Backing file not supported for file format":  func(o *tools.CreateOptions) { o.Backing = &o.Format; o.Format = "raw" },
		"Backing file specified without backing form": func(o *tools.CreateOptions) { o.Backing = &o.Format; o.Unsafe = true },
		"with the same filename as the backing file":  func(o *tools.CreateOptions) { o.Backing = &o.Filename },
		"Expected backing file name, got empty":       func(o *tools.CreateOptions) { o.Options = "backing_file=" },
	} {
		b := newBench(t)
		o := tools.CreateOptions{Filename: b.path("x"), Format: "qcow2", Size: 1 << 20}
		change(&o)
		err := tools.Create(b.ctx, b.env, o)
		if err == nil || !strings.HasPrefix(err.Error(), b.path("x")+": ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		if _, err := os.Stat(b.path("x")); err == nil {
			t.Errorf("%s: a file was made", want)
		}
	}
}

func TestInfoFindsLoops(t *testing.T) {
	b := newBench(t)
	loop, qcow2 := "loop", "qcow2"
	b.create("a", "qcow2", "", 1<<20)
	b.must(tools.Create(b.ctx, b.env, tools.CreateOptions{Filename: b.path("loop2"), Format: "qcow2", Size: 1 << 20,
		Backing: &loop, BackingFormat: &qcow2, Unsafe: true}))
	b.must(os.Rename(b.path("loop2"), b.path("loop")))
	_, err := tools.Info(b.ctx, b.env, tools.InfoOptions{Source: tools.Source{Filename: b.path("loop")}, BackingChain: true})
	if want := "Backing file '" + b.path("loop") + "' creates an infinite loop."; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	list, err := tools.Info(b.ctx, b.env, tools.InfoOptions{Source: tools.Source{Filename: b.path("loop")}})
	if err != nil || len(list) != 1 || list[0].FullBacking != b.path("loop") {
		t.Errorf("without the chain: %v, %v", list, err)
	}
}

func TestCheckSaysWhatItCannotCheck(t *testing.T) {
	b := newBench(t)
	b.create("r", "raw", "", 1<<20)
	_, err := tools.Check(b.ctx, b.env, tools.CheckOptions{Source: tools.Source{Filename: b.path("r"), Format: "raw"}})
	if !errors.Is(err, tools.ErrNoChecks) {
		t.Errorf("raw: %v", err)
	}
	b.create("q", "qcow2", "", 1<<20)
	r, err := tools.Check(b.ctx, b.env, tools.CheckOptions{Source: tools.Source{Filename: b.path("q")}})
	if err != nil || r.Damage() != tools.Healthy || r.Format != "qcow2" || r.TotalClusters != 16 {
		t.Errorf("qcow2: %+v, %v", r, err)
	}
}

func TestCheckRepairsThenChecksAgain(t *testing.T) {
	b := newBench(t)
	b.create("q", "qcow2", "", 1<<20)
	f, err := os.OpenFile(b.path("q"), os.O_RDWR, 0)
	b.must(err)
	_, err = f.WriteAt([]byte{0, 1}, 2*65536+8) // a refcount of 1 for the cluster behind the image's four
	b.must(err)
	b.must(f.Truncate(5 * 65536))
	b.must(f.Close())
	o := tools.CheckOptions{Source: tools.Source{Filename: b.path("q")}}
	r, err := tools.Check(b.ctx, b.env, o)
	if err != nil || r.Damage() != tools.Leaks {
		t.Fatalf("before: %+v, %v", r, err)
	}
	repaired := int64(0)
	o.Fix, o.Repaired = formats.FixLeaks, func(r formats.CheckResult) { repaired = r.LeaksFixed }
	if r, err = tools.Check(b.ctx, b.env, o); err != nil || r.Damage() != tools.Healthy || r.LeaksFixed != 1 || repaired != 1 {
		t.Errorf("repair: %+v, %v, told of %d", r, err, repaired)
	}
	if said := b.w.text.String(); !strings.Contains(said, "Leaked cluster 4 refcount=1 reference=0\n") {
		t.Errorf("said %q", said)
	}
}

func TestResizeNeedsShrinkToShrink(t *testing.T) {
	b := newBench(t)
	b.create("r", "raw", "", 1<<20)
	o := tools.ResizeOptions{Source: tools.Source{Filename: b.path("r"), Format: "raw"}, Relative: -1, Size: 4096}
	if err := tools.Resize(b.ctx, b.env, o); !errors.Is(err, tools.ErrShrinks) {
		t.Errorf("without Shrink: %v", err)
	}
	o.Shrink = true
	b.must(tools.Resize(b.ctx, b.env, o))
	if st, err := os.Stat(b.path("r")); err != nil || st.Size() != 1<<20-4096 {
		t.Errorf("%v, %v", st.Size(), err)
	}
	for _, o := range []tools.ResizeOptions{{Relative: -1, Size: 2 << 20}, {Relative: 1, Size: 1<<63 - 1}, {Size: 1 << 63}, {}} {
		o.Source, o.Shrink = tools.Source{Filename: b.path("r"), Format: "raw"}, true
		if err := tools.Resize(b.ctx, b.env, o); err == nil || err.Error() != "New image size must be positive" {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// layers makes base <- mid <- top, 4 MiB each, with ranges of their own and in common.
func layers(t *testing.T) *bench {
	b := newBench(t)
	b.create("base", "qcow2", "", 4<<20)
	b.write("base", 1, 0, 2<<20)
	b.create("mid", "qcow2", "base", 4<<20)
	b.write("mid", 2, 1<<20, 3000)
	b.create("top", "qcow2", "mid", 4<<20)
	b.write("top", 3, 3<<20, 100<<10)
	n := b.open("top", "qcow2", formats.ReadWrite)
	b.must(n.WriteZeroes(b.ctx, 64<<10, 128<<10, 0))
	b.must(n.Close())
	return b
}

func TestCommitIntoAnyLayer(t *testing.T) {
	for _, base := range []string{"", "mid", "base"} {
		b := layers(t)
		want := b.content("top")
		o := tools.CommitOptions{Source: tools.Source{Filename: b.path("top")}}
		into := "mid"
		if base != "" {
			o.Base, o.Drop, into = &base, true, base
		}
		b.must(tools.Commit(b.ctx, b.env, o))
		if !bytes.Equal(b.content(into), want) {
			t.Errorf("base %q: %s does not read as the image did", base, into)
		}
		if !bytes.Equal(b.content("top"), want) {
			t.Errorf("base %q: the image itself reads otherwise now", base)
		}
	}
}

func TestCommitGrowsTheBackingFile(t *testing.T) {
	b := newBench(t)
	b.create("base", "qcow2", "", 1<<20)
	b.create("top", "qcow2", "base", 3<<20)
	b.write("top", 7, 2<<20, 64<<10)
	want := b.content("top")
	b.must(tools.Commit(b.ctx, b.env, tools.CommitOptions{Source: tools.Source{Filename: b.path("top")}, Drop: true}))
	if !bytes.Equal(b.content("base"), want) {
		t.Error("the grown backing file does not read as the image did")
	}
}

func TestCommitErrors(t *testing.T) {
	b := layers(t)
	other := "nope"
	for want, o := range map[string]tools.CommitOptions{
		"Image does not have a backing file": {Source: tools.Source{Filename: b.path("base")}},
		"Did not find 'nope' in the backing chain of '" + b.path("top") + "'": {
			Source: tools.Source{Filename: b.path("top")}, Base: &other},
	} {
		if err := tools.Commit(b.ctx, b.env, o); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// Writes that come while a commit runs wait for it; none may be lost.
func TestCommitWithAWriter(t *testing.T) {
	b := layers(t)
	n := b.open("top", "qcow2", formats.ReadWrite)
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			if err := n.WriteAt(b.ctx, bytes.Repeat([]byte{byte(10 + i)}, 4096), int64(i)*5000+3<<20, 0); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Go(func() {
		if err := tools.CommitNode(b.ctx, b.env, n, tools.CommitOptions{}); err != nil {
			t.Error(err)
		}
	})
	wait.Wait()
	for i := range 8 {
		p := make([]byte, 4096)
		b.must(n.ReadAt(b.ctx, p, int64(i)*5000+3<<20))
		if !bytes.Equal(p, bytes.Repeat([]byte{byte(10 + i)}, 4096)) {
			t.Errorf("write %d is lost", i)
		}
	}
	b.must(n.Close())
}

// rebase makes top stand on base, or on nothing, and reports how it went.
func (b *bench) rebase(o tools.RebaseOptions, base string) error {
	format := "qcow2"
	o.Source, o.Backing = tools.Source{Filename: b.path("top")}, &base
	if base != "" {
		o.BackingFormat = &format
	}
	return tools.Rebase(b.ctx, b.env, o)
}

func TestRebaseKeepsTheContent(t *testing.T) {
	for _, base := range []string{"base", "other", "short", "long", ""} {
		for _, compress := range []bool{false, true} {
			b := layers(t)
			b.create("other", "qcow2", "", 4<<20)
			b.write("other", 1, 0, 1<<20)
			b.write("other", 9, 3<<20, 1<<20)
			b.create("short", "qcow2", "", 1<<20)
			b.write("short", 2, 0, 1<<20)
			b.create("long", "qcow2", "", 9<<20)
			b.write("long", 5, 0, 9<<20)
			want := b.content("top")
			b.must(b.rebase(tools.RebaseOptions{Compress: compress}, base))
			if !bytes.Equal(b.content("top"), want) {
				t.Errorf("on %q, compress %v: the image reads otherwise", base, compress)
			}
			list, err := tools.Info(b.ctx, b.env, tools.InfoOptions{Source: tools.Source{Filename: b.path("top")}})
			if err != nil || list[0].BackingFilename != base {
				t.Errorf("on %q: info says %q, %v", base, list[0].BackingFilename, err)
			}
			r, err := tools.Check(b.ctx, b.env, tools.CheckOptions{Source: tools.Source{Filename: b.path("top")}})
			if err != nil || r.Damage() != tools.Healthy {
				t.Errorf("on %q: check: %+v, %v", base, r, err)
			}
		}
	}
}

func TestUnsafeRebaseOnlyRenames(t *testing.T) {
	b := layers(t)
	before, err := os.ReadFile(b.path("top"))
	b.must(err)
	b.must(b.rebase(tools.RebaseOptions{Unsafe: true}, "nowhere"))
	after, err := os.ReadFile(b.path("top"))
	b.must(err)
	if len(before) != len(after) || !bytes.Equal(before[65536:], after[65536:]) {
		t.Error("more than the header changed")
	}
	if err := b.rebase(tools.RebaseOptions{}, "base"); err == nil || !strings.Contains(err.Error(), "Could not open backing file") {
		t.Errorf("a safe rebase needs the old backing file: %v", err)
	}
}

func TestCommitEmptiesTheImage(t *testing.T) {
	b := layers(t)
	b.must(tools.Commit(b.ctx, b.env, tools.CommitOptions{Source: tools.Source{Filename: b.path("top")}}))
	n := b.open("top", "qcow2", 0)
	e, err := n.IsAllocated(b.ctx, 0, n.Size())
	if err != nil || e.Len != n.Size() || e.State.Has(formats.Allocated) {
		t.Errorf("something is left: %+v, %v", e, err)
	}
	b.must(n.Close())
	if st, err := os.Stat(b.path("top")); err != nil || st.Size() > 5*65536 {
		t.Errorf("the file is still %d bytes long", st.Size())
	}
}
