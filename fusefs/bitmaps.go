package fusefs

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"unicode/utf8"

	"github.com/hanwen/go-fuse/v2/fuse"

	"platter/formats"
	"platter/formats/bitmap"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// bitmaps is the directory of the persistent dirty bitmaps: mkdir adds one, rmdir removes one, mv renames.
type bitmaps struct {
	img *image

	mu   sync.Mutex
	dirs map[string]*bitmapDir // by name
}

func newBitmaps(img *image) *bitmaps { return &bitmaps{img: img, dirs: map[string]*bitmapDir{}} }

func (d *bitmaps) store() (formats.BitmapStore, error) {
	s, ok := formats.As[formats.BitmapStore](d.img.node.Unwrap())
	if !ok {
		return nil, qerr.New(syscall.EOPNOTSUPP, "format '%s' has no persistent bitmaps", d.img.node.Driver().Name)
	}
	return s, nil
}

func (d *bitmaps) reader() (formats.BitmapReader, error) {
	r, ok := formats.As[formats.BitmapReader](d.img.node.Unwrap())
	if !ok {
		return nil, qerr.New(syscall.EOPNOTSUPP, "format '%s' has no bitmaps", d.img.node.Driver().Name)
	}
	return r, nil
}

// list gives the bitmaps and their names as files; one whose name is no file name is left out.
func (d *bitmaps) list() (map[string]formats.BitmapInfo, []string, error) {
	s, err := d.reader()
	if err != nil {
		return nil, nil, nil
	}
	d.img.control.RLock()
	all, err := s.Bitmaps(context.Background())
	d.img.control.RUnlock()
	if err != nil {
		return nil, nil, d.img.failed("listing bitmaps", 0, 0, err)
	}
	infos, names := map[string]formats.BitmapInfo{}, []string(nil)
	for _, b := range all {
		name := escape(b.Name)
		if name == "" { // bitmaps have no ID
			name = shorten(b.Name)
			for n := 2; slices.Contains(names, name); n++ { // what differs in the middle only
				name = shorten(b.Name) + "~" + strconv.Itoa(n)
			}
		}
		infos[name] = b
		names = append(names, name)
	}
	return infos, names, nil
}

// shorten makes a file name of a name that is too long, from whole characters at both its ends.
func shorten(name string) string {
	const half = maxName / 2 / 4
	if len(name) <= 2*half {
		return "unnamed"
	}
	head, tail := half, len(name)-half
	for head > half-utf8.UTFMax && !utf8.RuneStart(name[head]) {
		head--
	}
	for tail < len(name)-half+utf8.UTFMax && !utf8.RuneStart(name[tail]) {
		tail++
	}
	return escape(name[:head] + "..." + name[tail:])
}

func (d *bitmaps) attr(a *fuse.Attr) error {
	a.Mode, a.Nlink = syscall.S_IFDIR|0o755, 2
	return nil
}

func (d *bitmaps) image() *image { return d.img }

func (d *bitmaps) fixed() bool { return false }

func (d *bitmaps) find(name string) (*bitmapDir, error) {
	infos, _, err := d.list()
	if err != nil {
		return nil, err
	}
	b, ok := infos[name]
	if !ok {
		return nil, syscall.ENOENT
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if dir := d.dirs[b.Name]; dir != nil {
		return dir, nil
	}
	dir := newBitmapDir(d, b.Name)
	d.dirs[b.Name] = dir
	return dir, nil
}

func (d *bitmaps) child(name string) (node, error) {
	if err := d.img.tooLong(name); err != nil {
		return nil, err
	}
	dir, err := d.find(name)
	if err != nil {
		return nil, err
	}
	return dir, nil
}

func (d *bitmaps) entries() ([]entry, error) {
	_, names, err := d.list()
	var list []entry
	for _, name := range names {
		list = append(list, entry{name, syscall.S_IFDIR})
	}
	return list, err
}

// edit is something done to the store.
type edit func(s formats.BitmapStore, ctx context.Context) error

// change does something to the store while nothing else happens to the image, and flushes. If the flush fails, undo takes
// it back, unless it is nil.
func (d *bitmaps) change(ctx context.Context, what, name string, do, undo edit) error {
	s, err := d.store()
	if err == nil && d.img.readOnly {
		err = syscall.EROFS
	}
	if err == nil {
		d.img.notifier.collect(d.img)
		d.img.control.Lock()
		defer d.img.control.Unlock()
		ctx := context.WithoutCancel(ctx)
		err = d.img.node.Exclusive(func() error { return do(s, ctx) })
		failed := d.img.node.Flush(ctx)
		if err == nil && failed != nil && undo != nil {
			err = d.img.node.Exclusive(func() error { return undo(s, ctx) })
		}
		d.img.gen.Add(1)
		err = errors.Join(err, failed)
	}
	if err != nil {
		return d.img.failed(what+" '"+name+"'", 0, 0, err)
	}
	return nil
}

func (d *bitmaps) mkdir(ctx context.Context, file string) error {
	name, err := given(file)
	if err != nil {
		return d.img.failed("adding bitmap '"+file+"'", 0, 0, err)
	}
	if _, err := d.find(file); err == nil {
		return syscall.EEXIST
	}
	return d.change(ctx, "adding bitmap", name, func(s formats.BitmapStore, ctx context.Context) error {
		return s.AddBitmap(ctx, name, 0, true)
	}, func(s formats.BitmapStore, ctx context.Context) error {
		return s.RemoveBitmap(ctx, name)
	})
}

func (d *bitmaps) rmdir(ctx context.Context, file string) error {
	dir, err := d.find(file)
	if err != nil {
		return err
	}
	err = d.change(ctx, "removing bitmap", dir.name, func(s formats.BitmapStore, ctx context.Context) error {
		return s.RemoveBitmap(ctx, dir.name)
	}, nil)
	if err == nil {
		d.forget(dir)
	}
	return err
}

func (d *bitmaps) rename(ctx context.Context, from, to string) error {
	dir, err := d.find(from)
	if err != nil {
		return err
	}
	name, err := given(to)
	if err != nil {
		return d.img.failed("renaming bitmap '"+from+"'", 0, 0, err)
	}
	if _, err := d.find(to); err == nil {
		return syscall.EEXIST
	}
	err = d.change(ctx, "renaming bitmap", dir.name, func(s formats.BitmapStore, ctx context.Context) error {
		return s.RenameBitmap(ctx, dir.name, name)
	}, nil)
	if err == nil {
		d.forget(dir)
	}
	return err
}

func (d *bitmaps) forget(dir *bitmapDir) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.dirs, dir.name)
	d.img.tree.nodes.drop(dir)
}

// bitmapDir is the directory of one bitmap.
type bitmapDir struct {
	*static
	of   *bitmaps
	name string
}

func newBitmapDir(d *bitmaps, name string) *bitmapDir {
	b := &bitmapDir{static: newStatic(d.img), of: d, name: name}
	b.add("changed.raw", &dataFile{img: d.img, content: &changes{dir: b, node: d.img.disk.content}, live: true})
	b.add("extents.json", &text{img: d.img, make: b.extents})
	b.add("bits.bin", &text{img: d.img, make: b.bits})
	b.add("info.json", &text{img: d.img, make: b.info})
	b.add("enabled", &toggle{b})
	return b
}

func (b *bitmapDir) load() (*bitmap.Bitmap, error) {
	s, err := b.of.reader()
	if err != nil {
		return nil, err
	}
	b.of.img.control.RLock()
	defer b.of.img.control.RUnlock()
	return s.Bitmap(context.Background(), b.name)
}

func (b *bitmapDir) describe() (formats.BitmapInfo, error) {
	infos, _, err := b.of.list()
	if err != nil {
		return formats.BitmapInfo{}, err
	}
	for _, i := range infos {
		if i.Name == b.name {
			return i, nil
		}
	}
	return formats.BitmapInfo{}, syscall.ENOENT
}

// extents lists the dirty ranges.
func (b *bitmapDir) extents() ([]byte, error) {
	bits, err := b.load()
	if err != nil {
		return nil, err
	}
	list := qobj.List{}
	for off := int64(0); ; {
		start, n := bits.Next(off)
		if n == 0 {
			return append(qobj.AppendJSON(nil, list, true), '\n'), nil
		}
		e := qobj.NewDict()
		e.Set("start", start)
		e.Set("length", n)
		list = append(list, e)
		off = start + n
	}
}

// bits is the bitmap itself, a bit for each granule, the least significant first.
func (b *bitmapDir) bits() ([]byte, error) {
	bits, err := b.load()
	if err != nil {
		return nil, err
	}
	var raw []byte
	for _, w := range bits.Words() {
		raw = binary.LittleEndian.AppendUint64(raw, w)
	}
	granules := (bits.Size() + bits.Granularity() - 1) / bits.Granularity()
	return raw[:(granules+7)/8], nil
}

func (b *bitmapDir) info() ([]byte, error) {
	i, err := b.describe()
	if err != nil {
		return nil, err
	}
	d := qobj.NewDict()
	d.Set("name", i.Name)
	d.Set("granularity", i.Granularity)
	d.Set("count", i.Count)
	d.Set("recording", i.Enabled)
	d.Set("persistent", true)
	if i.Inconsistent {
		d.Set("inconsistent", true)
	}
	return append(qobj.AppendJSON(nil, d, true), '\n'), nil
}

// changes is the guest disk with only the dirty ranges as data, those that were dirty when the file was opened.
type changes struct {
	dir  *bitmapDir
	node content
	bits *bitmap.Bitmap // nil in the file itself
}

func (c *changes) capture() (content, error) {
	bits, err := c.dir.load()
	return &changes{dir: c.dir, node: c.node, bits: bits}, err
}

func (c *changes) size() int64 { return c.node.size() }

func (c *changes) allocated() int64 {
	i, err := c.dir.describe()
	if err != nil {
		return c.size()
	}
	return i.Count
}

func (c *changes) run(off, n int64) (int64, bool, error) {
	start, length := c.bits.Next(off)
	switch {
	case length == 0:
		return n, false, nil
	case start > off:
		return min(n, start-off), false, nil
	}
	return min(n, length), true, nil
}

func (c *changes) readAt(p []byte, off int64) error {
	for len(p) > 0 {
		n, dirty, err := c.run(off, int64(len(p)))
		if err != nil {
			return err
		}
		if !dirty {
			clear(p[:n])
		} else if err := c.node.readAt(p[:n], off); err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// toggle is the file that says, and sets, whether a bitmap records.
type toggle struct{ b *bitmapDir }

func (f *toggle) attr(a *fuse.Attr) error {
	a.Mode, a.Size = syscall.S_IFREG|0o600, 2
	return nil
}

func (f *toggle) truncate(int64) error { return nil }

func (f *toggle) open(flags uint32) (handle, uint32, error) {
	i, err := f.b.describe()
	if err != nil {
		return nil, 0, err
	}
	state := "0\n"
	if i.Enabled {
		state = "1\n"
	}
	return &toggleHandle{bytesHandle(state), f}, fuse.FOPEN_DIRECT_IO, nil
}

type toggleHandle struct {
	bytesHandle
	f *toggle
}

func (h *toggleHandle) write(p []byte, _ int64, _ bool) (int, error) {
	on := strings.TrimSpace(string(p))
	if on != "0" && on != "1" {
		return 0, h.f.b.of.img.failed("enabled", 0, 0, qerr.New(syscall.EINVAL, "expected 0 or 1"))
	}
	err := h.f.b.of.change(context.Background(), "enabling or disabling bitmap", h.f.b.name,
		func(s formats.BitmapStore, ctx context.Context) error {
			return s.EnableBitmap(ctx, h.f.b.name, on == "1")
		}, nil)
	if err != nil {
		return 0, err
	}
	return len(p), nil
}
