package chain_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/formats/protocol/mem"
)

// strict is an image that fails the test on every request that the graph must not send.
type strict struct {
	*mem.File
	t      *testing.T
	limits formats.Limits
	zeroes bool // can write zeroes, in whole units only
	mu     sync.Mutex
	busy   map[int64]bool // blocks that a write is working on
}

func (s *strict) Limits() formats.Limits { return s.limits }

func (s *strict) legal(what string, off, n int64) {
	if off%s.limits.Align != 0 || n%s.limits.Align != 0 {
		s.t.Errorf("%s of %d+%d is not aligned to %d", what, off, n, s.limits.Align)
	}
	if s.limits.MaxTransfer > 0 && n > s.limits.MaxTransfer {
		s.t.Errorf("%s of %d bytes, at most %d", what, n, s.limits.MaxTransfer)
	}
	if n == 0 || off < 0 || off+n > s.Size() {
		s.t.Errorf("%s of %d+%d is out of bounds", what, off, n)
	}
}

func (s *strict) ReadAt(ctx context.Context, p []byte, off int64) error {
	s.legal("read", off, int64(len(p)))
	return s.File.ReadAt(ctx, p, off)
}

func (s *strict) WriteAt(ctx context.Context, p []byte, off int64, f formats.WriteFlags) error {
	s.legal("write", off, int64(len(p)))
	s.claim(off, int64(len(p)), true)
	defer s.claim(off, int64(len(p)), false)
	return s.File.WriteAt(ctx, p, off, f)
}

func (s *strict) claim(off, n int64, on bool) {
	if s.limits.Align == 1 {
		return // overlapping writes are the driver's own business
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for b := off; b < off+n; b += s.limits.Align {
		if on && s.busy[b] {
			s.t.Errorf("two writes at once in the block at %d", b)
		}
		s.busy[b] = on
	}
}

func (s *strict) WriteZeroes(ctx context.Context, off, n int64, f formats.WriteFlags) error {
	s.legal("zero", off, n)
	if !s.zeroes || off%max(s.limits.ZeroAlign, 1) != 0 || n%max(s.limits.ZeroAlign, 1) != 0 {
		return syscall.ENOTSUP
	}
	return s.File.WriteZeroes(ctx, off, n, f)
}

func newStrict(t *testing.T, size int64, l formats.Limits, zeroes bool) (*strict, *chain.Node) {
	s := &strict{File: mem.NewFile(make([]byte, size)), t: t, limits: l, zeroes: zeroes, busy: map[int64]bool{}}
	drv := &formats.Driver{Name: "strict", Kind: formats.Format}
	return s, chain.Wrap(drv, s, formats.ReadWrite|formats.Unmap, "strict")
}

func TestDriversSeeOnlyLegalRequests(t *testing.T) {
	for _, l := range []formats.Limits{
		{Align: 1}, {Align: 512}, {Align: 4096, ZeroAlign: 16384}, {Align: 512, MaxTransfer: 4096, ZeroAlign: 4096},
	} {
		const size = 1 << 18
		ctx := context.Background()
		s, n := newStrict(t, size, l, true)
		model, rng := make([]byte, size), rand.New(rand.NewPCG(1, uint64(l.Align)))
		for range 400 {
			k := 1 + rng.Int64N([]int64{100, 5000, 150_000}[rng.IntN(3)])
			off := rng.Int64N(size - k)
			p := make([]byte, k)
			switch rng.IntN(4) {
			case 0, 1:
				for i := range p {
					p[i] = byte(rng.Uint32())
				}
				if err := n.WriteAt(ctx, p, off, 0); err != nil {
					t.Fatal(err)
				}
				copy(model[off:], p)
			case 2:
				if err := n.WriteZeroes(ctx, off, k, formats.MayUnmap); err != nil {
					t.Fatal(err)
				}
				clear(model[off : off+k])
			default:
				if err := n.ReadAt(ctx, p, off); err != nil || !bytes.Equal(p, model[off:off+k]) {
					t.Fatalf("limits %+v: read %d+%d differs (%v)", l, off, k, err)
				}
			}
		}
		if !bytes.Equal(s.Bytes(), model) {
			t.Errorf("limits %+v: content differs", l)
		}
	}
}

func TestNoFallbackDoesNotWrite(t *testing.T) {
	s, n := newStrict(t, 1<<16, formats.Limits{Align: 512}, false)
	if err := n.WriteAt(context.Background(), []byte("keep"), 0, 0); err != nil {
		t.Fatal(err)
	}
	err := n.WriteZeroes(context.Background(), 0, 4096, formats.NoFallback)
	if !errors.Is(err, syscall.ENOTSUP) {
		t.Errorf("WriteZeroes: %v, want ENOTSUP", err)
	}
	if !bytes.HasPrefix(s.Bytes(), []byte("keep")) {
		t.Error("the range was written")
	}
}

func TestUnalignedWritersDoNotLoseEachOthersBytes(t *testing.T) {
	const writers, size = 8, 1 << 14
	s, n := newStrict(t, size, formats.Limits{Align: 4096}, false)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for off := int64(w); off < size; off += writers {
				if err := n.WriteAt(context.Background(), []byte{byte(w + 1)}, off, 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for i, b := range s.Bytes() {
		if int(b) != i%writers+1 {
			t.Fatalf("byte %d is %d", i, b)
		}
	}
}

func TestOutOfRangeNeverReachesTheDriver(t *testing.T) {
	_, n := newStrict(t, 1<<16, formats.Limits{Align: 512}, true)
	ctx, p := context.Background(), make([]byte, 10)
	for _, off := range []int64{-1, 1<<16 - 5, 1 << 16, 1<<63 - 5, -1 << 63} {
		if err := n.ReadAt(ctx, p, off); !errors.Is(err, syscall.EIO) {
			t.Errorf("read at %d: %v, want EIO", off, err)
		}
		if err := n.WriteAt(ctx, p, off, 0); !errors.Is(err, syscall.EIO) {
			t.Errorf("write at %d: %v, want EIO", off, err)
		}
		if err := n.WriteZeroes(ctx, off, 10, 0); !errors.Is(err, syscall.EIO) {
			t.Errorf("zero at %d: %v, want EIO", off, err)
		}
		if err := n.Discard(ctx, off, 10); !errors.Is(err, syscall.EIO) {
			t.Errorf("discard at %d: %v, want EIO", off, err)
		}
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if err := n.ReadAt(ctx, p, 0); err == nil {
		t.Error("a closed image can be read")
	}
}

func TestExclusiveWaitsForRequests(t *testing.T) {
	_, n := newStrict(t, 1<<16, formats.Limits{Align: 512}, false)
	var wg sync.WaitGroup
	inside := 0
	var mu sync.Mutex
	for range 4 {
		wg.Go(func() {
			for i := range 200 {
				if i%20 == 0 {
					n.Exclusive(func() error {
						mu.Lock()
						inside++
						if inside != 1 {
							t.Error("two exclusive sections at once")
						}
						inside--
						mu.Unlock()
						return nil
					})
				}
				n.WriteAt(context.Background(), []byte{1}, int64(i), 0)
			}
		})
	}
	wg.Wait()
}

func TestAFailedFlushStaysFailed(t *testing.T) {
	f := &flaky{File: mem.NewFile(make([]byte, 4096))}
	n := chain.Wrap(&formats.Driver{Name: "flaky", Kind: formats.Protocol}, f, formats.ReadWrite, "flaky")
	ctx := context.Background()
	n.WriteAt(ctx, []byte{1}, 0, 0)
	f.fail = syscall.EIO
	if err := n.Flush(ctx); !errors.Is(err, syscall.EIO) {
		t.Fatalf("flush: %v, want EIO", err)
	}
	f.fail = nil
	if err := n.Flush(ctx); !errors.Is(err, syscall.EIO) {
		t.Errorf("second flush: %v; the kernel may have dropped what failed, so it must fail, too", err)
	}
}

type flaky struct {
	*mem.File
	fail error
}

func (f *flaky) Flush(context.Context) error { return f.fail }

// counting counts the flushes that reach it.
type counting struct {
	*mem.File
	flushes int
}

func (c *counting) Flush(context.Context) error { c.flushes++; return nil }

func (c *counting) CopyIn(context.Context, int64, int64, int, int64) error { return nil }

func TestFlushReachesTheStorageWhenThereIsSomethingToFlush(t *testing.T) {
	c := &counting{File: mem.NewFile(make([]byte, 4096))}
	n := chain.Wrap(&formats.Driver{Name: "counting", Kind: formats.Protocol}, c, formats.ReadWrite, "counting")
	ctx := context.Background()
	for _, step := range []struct {
		what string
		do   func()
		want int
	}{
		{"nothing", func() {}, 0},
		{"a write", func() { n.WriteAt(ctx, []byte{1}, 0, 0) }, 1},
		{"nothing more", func() {}, 1},
		{"a copy by the host", func() { n.CopyIn(ctx, 0, 1, 0, 0) }, 2},
		{"an exclusive operation", func() { n.Exclusive(func() error { return nil }) }, 3},
	} {
		step.do()
		if err := n.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		if c.flushes != step.want {
			t.Errorf("after %s: %d flushes, want %d", step.what, c.flushes, step.want)
		}
	}
}
