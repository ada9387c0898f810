package fusefs

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"

	"platter/chain"
	"platter/formats"
	"platter/formats/bitmap"
	"platter/tools"
)

// fake is an image in memory with snapshots and bitmaps.
type fake struct {
	mu    sync.Mutex
	data  []byte
	kept  []formats.Snapshot
	saved map[string][]byte
	maps  map[string]*bitmap.Bitmap
	on    map[string]bool
	last  int
}

func newFake(size int) *fake {
	return &fake{data: make([]byte, size), saved: map[string][]byte{}, maps: map[string]*bitmap.Bitmap{}, on: map[string]bool{}}
}

func (f *fake) Size() int64                 { return int64(len(f.data)) }
func (f *fake) Limits() formats.Limits      { return formats.Limits{} }
func (f *fake) Flush(context.Context) error { return nil }
func (f *fake) Close() error                { return nil }

func (f *fake) ReadAt(_ context.Context, p []byte, off int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	copy(p, f.data[off:])
	return nil
}

func (f *fake) WriteAt(_ context.Context, p []byte, off int64, _ formats.WriteFlags) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	copy(f.data[off:], p)
	return nil
}

func (f *fake) Status(_ context.Context, _, n int64) (formats.Extent, error) {
	return formats.Extent{Len: n, State: formats.Data}, nil
}

func (f *fake) Record(off, n int64) {
	for name, b := range f.maps {
		if f.on[name] {
			b.Set(off, n)
		}
	}
}

func (f *fake) Snapshots(context.Context) ([]formats.Snapshot, error) {
	return slices.Clone(f.kept), nil
}

func (f *fake) CreateSnapshot(_ context.Context, s formats.Snapshot) (formats.Snapshot, error) {
	f.last++
	s.ID = strconv.Itoa(f.last)
	f.kept = append(f.kept, s)
	f.saved[s.ID] = bytes.Clone(f.data)
	return s, nil
}

func (f *fake) find(id, name string) int {
	return slices.IndexFunc(f.kept, func(s formats.Snapshot) bool {
		return (id == "" || s.ID == id) && (name == "" || s.Name == name)
	})
}

func (f *fake) ApplySnapshot(context.Context, string) error { return syscall.ENOTSUP }

func (f *fake) DeleteSnapshot(_ context.Context, id, name string) error {
	i := f.find(id, name)
	if i < 0 {
		return syscall.ENOENT
	}
	f.kept = slices.Delete(f.kept, i, i+1)
	return nil
}

func (f *fake) RenameSnapshot(_ context.Context, id, name, to string) error {
	f.kept[f.find(id, name)].Name = to
	return nil
}

func (f *fake) OpenSnapshot(_ context.Context, id, name string) (formats.Image, error) {
	i := f.find(id, name)
	if i < 0 {
		return nil, syscall.ENOENT
	}
	return &fake{data: f.saved[f.kept[i].ID]}, nil
}

func (f *fake) Bitmaps(context.Context) ([]formats.BitmapInfo, error) {
	var list []formats.BitmapInfo
	for name, b := range f.maps {
		list = append(list, formats.BitmapInfo{Name: name, Granularity: b.Granularity(), Count: b.Count(), Enabled: f.on[name]})
	}
	return list, nil
}

func (f *fake) Bitmap(_ context.Context, name string) (*bitmap.Bitmap, error) {
	return f.maps[name].Clone(), nil
}

func (f *fake) AddBitmap(_ context.Context, name string, _ int64, on bool) error {
	f.maps[name], f.on[name] = bitmap.New(f.Size(), 4096), on
	return nil
}

func (f *fake) RemoveBitmap(_ context.Context, name string) error {
	delete(f.maps, name)
	return nil
}

func (f *fake) RenameBitmap(_ context.Context, from, to string) error {
	f.maps[to], f.on[to] = f.maps[from], f.on[from]
	delete(f.maps, from)
	return nil
}

func (f *fake) ClearBitmap(context.Context, string) error { return nil }

func (f *fake) EnableBitmap(_ context.Context, name string, on bool) error {
	f.on[name] = on
	return nil
}

func (f *fake) MergeBitmap(context.Context, string, *bitmap.Bitmap) error { return nil }

// fakeTree is the tree of a fake image that is not mounted.
func fakeTree(t *testing.T, size int) (*fake, *image, *static) {
	t.Helper()
	f, root := newFake(size), newStatic(nil)
	n := chain.Wrap(&formats.Driver{Name: "fake"}, f, formats.ReadWrite, "fake")
	img := newImage(n, &chain.Env{Env: &formats.Env{}}, newTree(root))
	t.Cleanup(func() { img.close() })
	fillRoot(root, img, nil)
	return f, img, root
}

// at walks to a node by its path.
func at(t *testing.T, root directory, path string) node {
	t.Helper()
	n := node(root)
	for _, name := range strings.Split(path, "/") {
		var err error
		if n, err = n.(directory).child(name); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	return n
}

func content1(t *testing.T, n node) []byte {
	t.Helper()
	h, _, err := n.(file).open(syscall.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	defer h.release()
	p := make([]byte, 1<<16)
	k, err := h.read(p, 0)
	if err != nil {
		t.Fatal(err)
	}
	return p[:k]
}

func TestSnapshotsAsDirectories(t *testing.T) {
	ctx := context.Background()
	_, img, root := fakeTree(t, 16<<10)
	dir := root.nodes["snapshots"].(*snapshots)
	img.write(nil, []byte("before"), 0, false)
	for _, name := range []string{`a\x2fb`, "plain"} {
		if err := dir.mkdir(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := dir.mkdir(ctx, "plain"); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("a second one of the same name: %v", err)
	}
	if err := dir.mkdir(ctx, "id=7"); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("a name like an ID: %v", err)
	}
	img.write(nil, []byte("after!"), 0, false)
	for _, path := range []string{`snapshots/a\x2fb/disk.raw`, "snapshots/plain/disk.raw", "snapshots/id=2/disk.raw"} {
		if got := content1(t, at(t, root, path)); len(got) != 16<<10 || string(got[:6]) != "before" {
			t.Errorf("%s: %d bytes, %q", path, len(got), got[:6])
		}
	}
	if at(t, root, "snapshots/id=2") != at(t, root, "snapshots/plain") {
		t.Error("name and ID are two directories")
	}
	h, _, err := at(t, root, "snapshots/plain/disk.raw").(file).open(syscall.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	if err := dir.rmdir(ctx, "plain"); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("deleted while open: %v", err)
	}
	h.release()
	if err := dir.rename(ctx, "plain", "renamed"); err != nil {
		t.Error(err)
	}
	if err := dir.rmdir(ctx, "renamed"); err != nil {
		t.Error(err)
	}
	if list, err := dir.entries(); err != nil || len(list) != 1 || list[0].name != `a\x2fb` {
		t.Errorf("%v, %v", list, err)
	}
	if _, _, err := at(t, root, `snapshots/a\x2fb/disk.raw`).(file).open(syscall.O_RDWR); !errors.Is(err, syscall.EROFS) {
		t.Errorf("a snapshot opened for writing: %v", err)
	}
}

func TestBitmapsAsDirectories(t *testing.T) {
	ctx := context.Background()
	f, img, root := fakeTree(t, 64<<10)
	dir := root.nodes["bitmaps"].(*bitmaps)
	img.write(nil, bytes.Repeat([]byte{1}, 64<<10), 0, false)
	if err := dir.mkdir(ctx, "b"); err != nil {
		t.Fatal(err)
	}
	img.write(nil, bytes.Repeat([]byte{2}, 100), 8192, false)
	h, _, err := at(t, root, "bitmaps/b/changed.raw").(file).open(syscall.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	if from, err := h.(seeker).seek(caller{}, 0, true); err != nil || from != 8192 {
		t.Errorf("data begins at %d, %v", from, err)
	}
	if to, err := h.(seeker).seek(caller{}, 8192, false); err != nil || to != 12288 {
		t.Errorf("data ends at %d, %v", to, err)
	}
	got := make([]byte, 64<<10)
	if _, err := h.read(got, 0); err != nil || got[0] != 0 || got[8192] != 2 || got[8292] != 1 || got[12288] != 0 {
		t.Errorf("content %d %d %d %d, %v", got[0], got[8192], got[8292], got[12288], err)
	}
	h.release()
	if s := content1(t, at(t, root, "bitmaps/b/extents.json")); !strings.Contains(string(s), `"start": 8192`) {
		t.Errorf("extents.json: %s", s)
	}
	if b := content1(t, at(t, root, "bitmaps/b/bits.bin")); !bytes.Equal(b, []byte{4, 0}) {
		t.Errorf("bits.bin: %v", b)
	}
	var a fuse.Attr
	if err := at(t, root, "bitmaps/b/changed.raw").attr(&a); err != nil || a.Blocks != 8 || a.Size != 64<<10 {
		t.Errorf("changed.raw has %d blocks, %d bytes, %v", a.Blocks, a.Size, err)
	}
	toggle, _, _ := at(t, root, "bitmaps/b/enabled").(file).open(syscall.O_RDWR)
	if _, err := toggle.(writer).write([]byte("0\n"), 0, false); err != nil || f.on["b"] {
		t.Errorf("still enabled: %v", err)
	}
	if _, err := toggle.(writer).write([]byte("x"), 0, false); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("nonsense: %v", err)
	}
	if s := content1(t, at(t, root, "bitmaps/b/enabled")); string(s) != "0\n" {
		t.Errorf("enabled: %q", s)
	}
	if err := errors.Join(dir.rename(ctx, "b", "c"), dir.rmdir(ctx, "c")); err != nil || len(f.maps) != 0 {
		t.Errorf("%v, %d bitmaps are left", err, len(f.maps))
	}
}

func TestControlIsAllOrNothing(t *testing.T) {
	_, img, _ := fakeTree(t, 4096)
	done := ""
	c := &control{img, func(words []string) (Command, error) {
		if words[0] == "bad" {
			return Command{}, syscall.EINVAL
		}
		do := func() error {
			done += words[0] + ";"
			if words[0] == "fail" {
				return syscall.EIO
			}
			return nil
		}
		o := Command{Reads: words[0] == "read", Run: func(context.Context, *chain.Node, *chain.Env, *tools.Meter) error { return do() }}
		if words[0] != "final" {
			o.Attempt = func(context.Context, *chain.Node, *chain.Env) (func(context.Context, bool) error, error) {
				return func(_ context.Context, keep bool) error {
					done += map[bool]string{true: "+", false: "-"}[keep] + words[0] + ";"
					return nil
				}, do()
			}
		}
		return o, nil
	}}
	h := &controlHandle{c}
	for _, x := range []struct {
		batch, done string
		err         error
	}{
		{"one\ntwo 'x y'\n", "one;two;+one;+two;", nil}, {"one\nbad\n", "", syscall.EINVAL},
		{"one\ntwo\nflush\nfail\nfour", "one;two;fail;-two;-one;", syscall.EIO},
		{"one\nfinal", "", syscall.EINVAL}, {"final\nflush", "final;", nil}, {"fail", "fail;", syscall.EIO},
		{"one 'two", "", syscall.EINVAL}, {"flush\ncancel", "", nil}, {"\n\n", "", nil},
	} {
		done = ""
		if err := h.command(caller{}, x.batch); !errors.Is(err, x.err) || done != x.done {
			t.Errorf("%q: %v, done %q; want %v, %q", x.batch, err, done, x.err, x.done)
		}
	}
	img.readOnly = true
	if err := h.command(caller{}, "one"); !errors.Is(err, syscall.EROFS) {
		t.Errorf("on a read-only mount: %v", err)
	}
	if err := h.command(caller{}, "read"); err != nil {
		t.Error(err)
	}
}
