package qcow2_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"platter/formats"
	"platter/formats/formatstest"
	"platter/integration/programs"
)

// past is what the image was made into, from an event of the store's log on.
type past struct {
	at    int
	sure  bool // no crash takes it back
	disk  []byte
	snaps map[string][]byte
	bits  map[string]track // as stored when the image was closed; nil once something was done after
}

// survivor is a world that remembers its past.
type survivor struct {
	*world
	pasts  []past
	stored map[string]track
}

func (c *survivor) remember(at int, sure bool) {
	c.pasts = append(c.pasts, past{at, sure, bytes.Clone(c.disk), maps.Clone(c.snaps), c.stored})
}

// again closes the image, which stores the bitmaps, and opens it.
func (c *survivor) again() {
	c.stored = map[string]track{}
	for name, m := range c.maps {
		c.stored[name] = track{m.bits.Clone(), m.enabled}
	}
	c.remember(c.store.Events(), false)
	c.close()
	c.remember(c.store.Events(), true)
	c.open()
}

// live does an operation and remembers what it may leave.
func (c *survivor) live() {
	start, done := c.store.Events(), len(c.past)
	size, taken := len(c.disk), len(c.snaps)
	c.stored = nil
	if k := c.rng.IntN(10); k == 0 && !c.has("data_file") {
		c.amend()
	} else {
		c.step()
	}
	if len(c.past) == done || c.what == "reopen" { // again has remembered
		return
	}
	c.remember(start, false)
	if c.what == "flush" || len(c.disk) != size || len(c.snaps) != taken {
		c.remember(c.store.Events(), true)
	}
}

// amend changes an option; what cannot be is refused.
func (c *survivor) amend() {
	list := []string{"refcount_bits=64", "refcount_bits=16", "refcount_bits=4", "lazy_refcounts=on", "lazy_refcounts=off",
		"compat=1.1", "compat=0.10"}
	if len(c.maps) > 0 {
		list = list[:len(list)-1]
	}
	o := list[c.rng.IntN(len(list))]
	c.note("amend %s", o)
	err := amend(c.t, c.node, o)
	switch {
	case errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP):
	case err != nil:
		c.t.Fatalf("%s: %v", c.what, err)
	case strings.HasPrefix(o, "compat"):
		c.v2 = o == "compat=0.10"
	}
	c.narrow = true
}

// check holds what a crash at an event has left to the past.
func (c *survivor) check(s *formatstest.Store, at int) {
	t := c.t
	t.Helper()
	last := 0
	for k, p := range c.pasts {
		if p.at <= at {
			last = k
		}
	}
	first := last
	for first > 0 && !c.pasts[first].sure {
		first--
	}
	may := c.pasts[first : last+1]
	keys := keyOptions(c.opts)
	if raw := s.Bytes("disk"); binary.BigEndian.Uint32(raw[4:]) >= 3 && raw[79]&1 != 0 {
		n, err := openOptions(s, rw, keys) // the dirty bit: opening mends the refcounts
		if err != nil {
			t.Fatalf("crash at %d: %v", at, err)
		}
		n.Close()
	}
	if lines, res := auditOptions(t, s, 0, keys); res.Corruptions+res.CheckErrors > 0 {
		t.Fatalf("crash at %d: %+v\n%s", at, res, strings.Join(lines, "\n"))
	}
	c.checkContent(s, at, may)
	c.scribble(s, at)
}

// checkContent holds the disk, the snapshots and the bitmaps to what they may be.
func (c *survivor) checkContent(s *formatstest.Store, at int, may []past) {
	t := c.t
	t.Helper()
	n, err := openOptions(s, formats.OpenFlags(0), keyOptions(c.opts))
	if err != nil {
		t.Fatalf("crash at %d: %v", at, err)
	}
	defer n.Close()
	got, size := content(t, n), false
	for _, p := range may {
		size = size || len(p.disk) == len(got)
	}
	if !size {
		t.Fatalf("crash at %d: the disk has %d bytes", at, len(got))
	}
	for off := 0; off < len(got); off += 512 {
		end, ok := min(off+512, len(got)), false
		for k := len(may) - 1; k >= 0 && !ok; k-- {
			d := may[k].disk
			ok = len(d) >= end && bytes.Equal(got[off:end], d[off:end])
		}
		if !ok {
			t.Fatalf("crash at %d: nobody has written what sector %d holds", at, off/512)
		}
	}
	if !c.has("data_file") {
		c.checkSnapshots(n, at, may)
	}
	c.checkBitmaps(n, at, got, may)
}

func (c *survivor) checkSnapshots(n formats.File, at int, may []past) {
	t := c.t
	t.Helper()
	s, _ := formats.As[formats.Snapshotter](n)
	list, err := s.Snapshots(context.Background())
	if err != nil {
		t.Fatalf("crash at %d: %v", at, err)
	}
	for k := len(may) - 1; k >= 0; k-- {
		ok := len(list) == len(may[k].snaps)
		for _, e := range list {
			_, there := may[k].snaps[e.Name]
			ok = ok && there
		}
		if ok {
			return
		}
	}
	t.Fatalf("crash at %d: the snapshots are %v", at, list)
}

// checkBitmaps: a bitmap is inconsistent, or right, which an enabled one is only as long as the disk is what it was.
func (c *survivor) checkBitmaps(n formats.File, at int, disk []byte, may []past) {
	t := c.t
	t.Helper()
	ctx := context.Background()
	b, _ := formats.As[formats.BitmapStore](n)
	list, err := b.Bitmaps(ctx)
	if err != nil {
		t.Fatalf("crash at %d: %v", at, err)
	}
	for _, e := range list {
		if e.Inconsistent {
			continue
		}
		bits, err := b.Bitmap(ctx, e.Name)
		if err != nil {
			t.Fatalf("crash at %d: %v", at, err)
		}
		ok := false
		for _, p := range may {
			m, there := p.bits[e.Name]
			ok = ok || there && m.enabled == e.Enabled && equalBits(bits, m.bits) && (!e.Enabled || bytes.Equal(disk, p.disk))
		}
		if !ok {
			t.Fatalf("crash at %d: bitmap %+v is wrong and does not say so", at, e)
		}
	}
}

// scribble writes all over the disk, which changes no snapshot, and repairs what the crash has left.
func (c *survivor) scribble(s *formatstest.Store, at int) {
	t := c.t
	t.Helper()
	keys := keyOptions(c.opts)
	n, err := openOptions(s, rw, keys)
	if err != nil {
		t.Fatalf("crash at %d: %v", at, err)
	}
	if err := n.WriteAt(context.Background(), bytes.Repeat([]byte{0xee}, int(n.Size())), 0, 0); err != nil {
		t.Fatalf("crash at %d: %v", at, err)
	}
	for _, e := range snapshotList(t, n) {
		for k := len(c.pasts) - 1; k >= 0; k-- {
			if want, ok := c.pasts[k].snaps[e.Name]; ok {
				same(t, "after a crash: "+e.Name, readSnapshot(t, n, e.Name), want)
				break
			}
		}
	}
	if err := n.Close(); err != nil {
		t.Fatalf("crash at %d: %v", at, err)
	}
	if _, res := auditOptions(t, s, formats.FixErrors|formats.FixLeaks, keys); res.Corruptions+res.CheckErrors > 0 {
		t.Fatalf("crash at %d: repair %+v", at, res)
	}
	if lines, res := auditOptions(t, s, 0, keys); res.Corruptions+res.Leaks+res.CheckErrors > 0 {
		t.Fatalf("crash at %d: after repair %+v\n%s", at, res, strings.Join(lines, "\n"))
	}
}

// stockCheck has stock look at what a crash has left: nothing but leaks, unless the dirty bit says what is to be done.
func (c *survivor) stockCheck(s *formatstest.Store, at int) {
	dir := fastDir(c.t)
	defer os.RemoveAll(dir)
	for _, name := range s.Names() {
		if err := os.WriteFile(filepath.Join(dir, name), s.Bytes(name), 0o600); err != nil {
			c.t.Fatal(err)
		}
	}
	if raw := s.Bytes("disk"); binary.BigEndian.Uint32(raw[4:]) >= 3 && raw[79]&1 != 0 {
		return
	}
	out, err := tryStock(c.t, "qemu-img", "check", "--object", "secret,id=s,data=secret", "--image-opts", c.imageOpts(dir))
	if err != nil && !onlyLeaks(err) {
		c.t.Fatalf("crash at %d: stock check: %v\n%s", at, err, out)
	}
}

// TestCrashes crashes lists of all operations at every moment: check finds leaks at most, what was flushed is there,
// snapshots are whole, bitmaps are right or say that they are not.
func TestCrashes(t *testing.T) {
	t.Parallel()
	_, missing := programs.Stock("qemu-img")
	seeds := 1
	if os.Getenv("PLATTER_LONG") != "" {
		seeds = 40
	}
	for _, l := range []struct {
		opts string
		size int64
	}{
		{"cluster_size=512", 96 << 10},
		{"cluster_size=512", 3 << 20}, // an L1 table of two clusters
		{"cluster_size=512,refcount_bits=64", 200 << 10},
		{"cluster_size=512,lazy_refcounts=on,compression_type=zstd", 80 << 10},
		{"cluster_size=16k,extended_l2=on", 512 << 10},
		{"cluster_size=512,backing_file=store:base,backing_fmt=raw", 96 << 10},
		{"cluster_size=512,data_file=store:data", 96 << 10},
		{"cluster_size=512,compat=0.10,encrypt.format=aes,encrypt.key-secret=s", 96 << 10},
		{"cluster_size=16k,refcount_bits=8,encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=1", 400 << 10},
	} {
		t.Run(l.opts, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(seeds) {
				crashRun(t, l.opts, l.size, seed, missing == nil)
			}
		})
	}
}

func crashRun(t *testing.T, opts string, size int64, seed uint64, stock bool) {
	c := &survivor{world: newWorld(t, opts, seed, size)}
	c.world.closing, c.world.sectors = c.again, true
	defer func() {
		if t.Failed() {
			for _, p := range c.pasts {
				t.Logf("from %d: %d bytes, %d snapshots, sure %v", p.at, len(p.disk), len(p.snaps), p.sure)
			}
			t.Logf("seed %d, last operations:\n%s", seed, strings.Join(c.past[max(len(c.past)-40, 0):], "\n"))
		}
	}()
	begin := c.store.Events()
	c.remember(begin, true)
	for range 40 {
		c.live()
	}
	c.reopen()
	c.close()
	most := 150
	if os.Getenv("PLATTER_LONG") != "" {
		most = 1500
	}
	stride := 1 + (c.store.Events()-begin)/most
	for k, at := 0, begin; at <= c.store.Events(); k, at = k+1, at+stride {
		s := c.store.Crash(at, rand.New(rand.NewPCG(uint64(at), seed)))
		if stock && k%8 == 0 {
			c.stockCheck(s, at)
		}
		c.check(s, at)
	}
}
