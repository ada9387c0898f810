package qcow2_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/formats/bitmap"
	"platter/formats/formatstest"
	"platter/integration/programs"
)

// world is an image beside what it must be: its disk, its snapshots, its bitmaps.
type world struct {
	t     *testing.T
	opts  string
	store *formatstest.Store
	node  *chain.Node
	rng   *rand.Rand
	unit  int64 // cluster size
	most  int64 // bytes that resizing may make of the disk
	what  string
	past  []string // what was done before
	// closing, if not nil, closes and opens the image instead.
	closing func()

	sectors bool // requests are of whole sectors
	narrow  bool // refcounts may be too narrow for snapshots
	v2      bool

	disk  []byte
	base  []byte // of the backing file
	names []string
	snaps map[string][]byte
	maps  map[string]*track
}

// track is a bitmap.
type track struct {
	bits    *bitmap.Bitmap
	enabled bool
}

// newWorld makes an image; size 0 chooses one.
func newWorld(t *testing.T, opts string, seed uint64, size int64) *world {
	w := &world{t: t, opts: opts, rng: rand.New(rand.NewPCG(seed, 17)), unit: 65536, snaps: map[string][]byte{}, maps: map[string]*track{}}
	for _, c := range []struct {
		opt  string
		unit int64
	}{{"cluster_size=512", 512}, {"cluster_size=16k", 16384}, {"cluster_size=2M", 2 << 20}} {
		if strings.Contains(opts, c.opt) {
			w.unit = c.unit
		}
	}
	w.narrow, w.v2 = w.has("refcount_bits=1") || w.has("refcount_bits=2"), w.has("compat=0.10")
	if size == 0 {
		size = min(max(600*w.unit, 300<<10), max(1<<20, 3*w.unit)) + 512
	}
	w.most = max(4*w.unit, 3*size)
	var before func(*formatstest.Store)
	w.disk = make([]byte, size)
	if w.has("backing_file") {
		w.base = make([]byte, size/3&^511)
		for k := range w.base {
			w.base[k] = byte(w.rng.Uint32())
		}
		before = func(s *formatstest.Store) { s.Put("base", w.base) }
		copy(w.disk, w.base)
	}
	w.store = newImageWith(t, opts, size, before)
	w.open()
	return w
}

func (w *world) has(opt string) bool { return strings.Contains(w.opts, opt) }

func (w *world) open() { w.node = w.openNode(rw) }

// openNode opens the image once more, or once at all.
func (w *world) openNode(flags formats.OpenFlags) *chain.Node {
	w.t.Helper()
	n, err := openOptions(w.store, flags, keyOptions(w.opts))
	if err != nil {
		w.t.Fatalf("%s: %v", w.what, err)
	}
	return n
}

func (w *world) close() {
	w.t.Helper()
	if err := w.node.Close(); err != nil {
		w.t.Fatalf("%s: close: %v", w.what, err)
	}
}

func (w *world) reopen() {
	w.note("reopen")
	if w.closing != nil {
		w.closing()
		return
	}
	w.close()
	w.open()
}

// note says what is done next.
func (w *world) note(format string, a ...any) {
	w.what = fmt.Sprintf(format, a...)
	w.past = append(w.past, w.what)
}

// span picks a range, often of whole clusters.
func (w *world) span() (off, n int64) {
	size := int64(len(w.disk))
	switch w.rng.IntN(4) {
	case 0:
		n = 1 + w.rng.Int64N(5000)
	case 1:
		n = w.unit * (1 + w.rng.Int64N(4))
	case 2:
		n = 512 * (1 + w.rng.Int64N(64))
	default:
		n = 1 + w.rng.Int64N(max(size/4, 1))
	}
	n = min(n, size)
	off = w.rng.Int64N(size - n + 1)
	if w.rng.IntN(2) == 0 {
		off -= off % w.unit
	}
	if w.sectors { // a disk writes whole ones, together with what was written to them before
		off &^= 511
		n = min((n+511)&^511, size-off)
	}
	return off, n
}

// random bytes that a compressor makes something of, or not.
func (w *world) random(n int64) []byte {
	p := make([]byte, n)
	step := []int{1, 1, 16}[w.rng.IntN(3)]
	for k := 0; k < len(p); k += step {
		p[k] = byte(w.rng.Uint32())
	}
	return p
}

// changed says that a request for a range was made, whatever came of it.
func (w *world) changed(off, n int64) {
	for _, m := range w.maps {
		if m.enabled {
			m.bits.Set(off, n)
		}
	}
}

// step does something.
func (w *world) step() {
	ctx := context.Background()
	off, n := w.span()
	var err error
	switch k := w.rng.IntN(32); {
	case len(w.disk) == 0:
		err = w.resize(ctx)
	case k < 8:
		w.note("write %d+%d", off, n)
		p := w.random(n)
		w.changed(off, n)
		copy(w.disk[off:], p)
		err = w.node.WriteAt(ctx, p, off, 0)
	case k < 11:
		f := []formats.WriteFlags{0, formats.MayUnmap}[w.rng.IntN(2)]
		w.note("zero %d+%d flags %d", off, n, f)
		w.changed(off, n)
		clear(w.disk[off : off+n])
		err = w.node.WriteZeroes(ctx, off, n, f)
	case k < 13:
		err = w.discard(ctx, off, n)
	case k < 16:
		err = w.compress(ctx, off)
	case k < 17:
		w.note("flush")
		err = w.node.Flush(ctx)
	case k < 19:
		w.reopen()
	case k < 21:
		err = w.resize(ctx)
	case k < 26:
		err = w.snapshot(ctx, k)
	default:
		err = w.bitmap(ctx, k)
	}
	if err != nil {
		w.t.Fatalf("%s: %v", w.what, err)
	}
}

// discard leaves each byte as it was or zero; the model learns which.
func (w *world) discard(ctx context.Context, off, n int64) error {
	w.note("discard %d+%d", off, n)
	w.changed(off, n)
	if err := w.node.Discard(ctx, off, n); err != nil {
		return err
	}
	p := make([]byte, n)
	if err := w.node.ReadAt(ctx, p, off); err != nil {
		return err
	}
	for k, b := range p {
		if b != 0 && b != w.disk[off+int64(k)] {
			return fmt.Errorf("byte %d is %#x, was %#x", off+int64(k), b, w.disk[off+int64(k)])
		}
	}
	copy(w.disk[off:], p)
	return nil
}

// compress writes one cluster. One that is stored as it is stays, as in QEMU, unless a snapshot has it as well.
func (w *world) compress(ctx context.Context, off int64) error {
	off -= off % w.unit
	n := min(w.unit, int64(len(w.disk))-off)
	w.note("write compressed %d+%d", off, n)
	p := make([]byte, n)
	for k := range p {
		p[k] = byte(k >> w.rng.IntN(3) & 15)
	}
	if w.rng.IntN(4) == 0 {
		p = w.random(n)
	}
	err := w.node.WriteCompressed(ctx, p, off)
	if w.has("data_file") {
		if !errors.Is(err, syscall.ENOTSUP) {
			return fmt.Errorf("compressed data in a data file: %v", err)
		}
		w.changed(off, n)
		return nil
	}
	w.changed(off, n)
	if err == nil {
		copy(w.disk[off:], p)
	} else if errors.Is(err, syscall.EIO) {
		return w.compare(ctx)
	}
	return err
}

func (w *world) resize(ctx context.Context) error {
	size := (w.rng.Int64N(5*w.unit/512+5000) + 1) * 512
	size = min(size, w.most)
	w.note("resize %d to %d", len(w.disk), size)
	err := w.node.Truncate(ctx, size, formats.PreallocOff)
	if w.v2 && len(w.names) > 0 {
		if errors.Is(err, syscall.ENOTSUP) {
			return nil
		}
		return fmt.Errorf("version 2 with snapshots: %v", err)
	}
	if err != nil {
		return err
	}
	w.disk = append(w.disk[:len(w.disk):len(w.disk)], make([]byte, max(size-int64(len(w.disk)), 0))...)[:size]
	for _, m := range w.maps {
		m.bits.Resize(size)
	}
	return nil
}

// snapshot takes, applies or deletes one.
func (w *world) snapshot(ctx context.Context, k int) error {
	s := snapshotter(w.t, w.node)
	name := fmt.Sprintf("s%d", w.rng.Uint32())
	if len(w.names) > 0 && k >= 23 {
		name = w.names[w.rng.IntN(len(w.names))]
	}
	switch {
	case k < 23 || len(w.names) == 0:
		w.note("take %s", name)
		err := w.node.Exclusive(func() error {
			_, err := s.CreateSnapshot(ctx, formats.Snapshot{Name: name})
			return err
		})
		if done, err := w.refused(err); !done || err != nil {
			return err
		}
		w.snaps[name] = bytes.Clone(w.disk)
		w.names = append(w.names, name)
	case k < 25:
		w.note("delete %s", name)
		if err := w.node.Exclusive(func() error { return s.DeleteSnapshot(ctx, "", name) }); err != nil {
			return err
		}
		delete(w.snaps, name)
		w.names = slices.DeleteFunc(w.names, func(n string) bool { return n == name })
	case len(w.maps) == 0: // the verb refuses to apply a snapshot where there are bitmaps
		w.note("apply %s", name)
		err := w.node.Exclusive(func() error { return s.ApplySnapshot(ctx, name) })
		if done, err := w.refused(err); !done || err != nil {
			return err
		}
		w.disk = bytes.Clone(w.snaps[name])
	}
	return nil
}

// refused accepts that what has to fail fails: snapshots beside a data file, and clusters that are referred to more often than
// a refcount can tell. It says whether the operation was done.
func (w *world) refused(err error) (done bool, _ error) {
	switch {
	case w.has("data_file") && errors.Is(err, syscall.ENOTSUP):
		return false, nil
	case w.has("data_file"):
		return false, fmt.Errorf("a snapshot beside a data file: %v", err)
	case w.narrow && errors.Is(err, syscall.EINVAL):
		return false, nil
	}
	return err == nil, err
}

// bitmap changes the bitmaps.
func (w *world) bitmap(ctx context.Context, k int) error {
	b := bitmapStore(w.t, w.node)
	var names []string
	for name := range w.maps {
		names = append(names, name)
	}
	slices.Sort(names)
	if len(names) == 0 || k < 28 && len(names) < 4 {
		name, g := "b"+strconv.Itoa(int(w.rng.Uint32())), int64(512)<<w.rng.IntN(11)
		w.note("add bitmap %s of %d", name, g)
		on := w.rng.IntN(3) > 0
		err := w.node.Exclusive(func() error { return b.AddBitmap(ctx, name, g, on) })
		if w.v2 {
			if err == nil {
				return errors.New("version 2 has no bitmaps")
			}
			return nil
		}
		w.maps[name] = &track{bitmap.New(int64(len(w.disk)), g), on}
		return err
	}
	name := names[w.rng.IntN(len(names))]
	m := w.maps[name]
	switch k {
	case 28:
		w.note("enable or disable %s", name)
		m.enabled = !m.enabled
		return w.node.Exclusive(func() error { return b.EnableBitmap(ctx, name, m.enabled) })
	case 29:
		from := names[w.rng.IntN(len(names))]
		w.note("merge %s into %s", from, name)
		m.bits.Merge(w.maps[from].bits)
		return w.node.Exclusive(func() error {
			src, err := b.Bitmap(ctx, from)
			if err != nil {
				return err
			}
			return b.MergeBitmap(ctx, name, src)
		})
	case 30:
		w.note("clear %s", name)
		m.bits.Clear(0, int64(len(w.disk)))
		return w.node.Exclusive(func() error { return b.ClearBitmap(ctx, name) })
	default:
		w.note("remove %s", name)
		delete(w.maps, name)
		return w.node.Exclusive(func() error { return b.RemoveBitmap(ctx, name) })
	}
}

// compare holds the disk, and now and then a snapshot, to the model.
func (w *world) compare(ctx context.Context) error {
	same(w.t, w.what+": disk", content(w.t, w.node), w.disk)
	if len(w.names) > 0 {
		name := w.names[w.rng.IntN(len(w.names))]
		same(w.t, w.what+": snapshot "+name, readSnapshot(w.t, w.node, name), w.snaps[name])
	}
	return nil
}

// verify holds the closed image to the model, as we see it and as stock does.
func (w *world) verify() {
	w.t.Helper()
	ctx := context.Background()
	if lines, res := auditOptions(w.t, w.store, 0, keyOptions(w.opts)); res.Corruptions+res.Leaks+res.CheckErrors > 0 {
		w.t.Fatalf("after %s: check: %+v\n%s", w.what, res, strings.Join(lines, "\n"))
	}
	w.node = w.openNode(0)
	same(w.t, "disk", content(w.t, w.node), w.disk)
	for name, want := range w.snaps {
		same(w.t, name, readSnapshot(w.t, w.node, name), want)
	}
	w.compareBitmaps(ctx, w.node)
	w.close()
	if w.has("data_file_raw") {
		data := w.store.Bytes("data")
		same(w.t, "the raw data file", data[:min(len(data), len(w.disk))], w.disk)
	}
	if _, err := programs.Stock("qemu-img"); err == nil {
		w.verifyWithStock()
	}
}

// compareBitmaps holds the bitmaps of an image to the model.
func (w *world) compareBitmaps(ctx context.Context, n *chain.Node) {
	w.t.Helper()
	list, err := bitmapStore(w.t, n).Bitmaps(ctx)
	if err != nil || len(list) != len(w.maps) {
		w.t.Fatalf("%d bitmaps, want %d: %v", len(list), len(w.maps), err)
	}
	for _, e := range list {
		got, err := bitmapStore(w.t, n).Bitmap(ctx, e.Name)
		if err != nil {
			w.t.Fatal(err)
		}
		m := w.maps[e.Name]
		sameBits(w.t, e.Name, got, m.bits)
		if e.Enabled != m.enabled || e.Inconsistent || e.InUse || e.Count != m.bits.Count() {
			w.t.Fatalf("%+v", e)
		}
	}
}

// TestModel does lists of operations over every pair of creation options. PLATTER_LONG does many lists over all combinations;
// PLATTER_SEED begins them elsewhere.
func TestModel(t *testing.T) {
	t.Parallel()
	cases, rounds, steps := pairwise(), 1, 60
	seed, _ := strconv.ParseUint(os.Getenv("PLATTER_SEED"), 10, 64)
	if os.Getenv("PLATTER_LONG") != "" {
		cases, rounds, steps = allCombinations(), 2, 150
	}
	for _, c := range cases {
		t.Run(c.options(), func(t *testing.T) {
			t.Parallel()
			for r := range uint64(rounds) {
				modelRun(t, c.options(), seed+r, steps)
			}
		})
	}
}

func modelRun(t *testing.T, opts string, seed uint64, steps int) {
	w := newWorld(t, opts, seed, 0)
	defer func() {
		if t.Failed() {
			t.Logf("seed %d, last operations:\n%s", seed, strings.Join(w.past[max(len(w.past)-40, 0):], "\n"))
		}
	}()
	for k := range steps {
		w.step()
		if k%8 == 7 {
			if err := w.compare(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		if k%(steps/2) == steps/2-1 {
			w.close()
			w.verify()
			w.open()
		}
	}
	w.close()
}
