package formatstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"platter/chain"
	"platter/formats"
)

// model is an image beside a byte array that must be equal to it.
type model struct {
	t     *testing.T
	s     Subject
	store *Store
	node  *chain.Node
	data  []byte
	rng   *rand.Rand
	step  int
	what  string
}

// Model does random writes, zeroes, discards, resizes, flushes and reopens, and compares the image with a byte array.
func Model(t *testing.T, s Subject, seed uint64, steps int) {
	m := &model{t: t, s: s, store: s.create(t), rng: rand.New(rand.NewPCG(seed, 7))}
	m.node = s.mustOpen(t, m.store, readWrite)
	m.data = make([]byte, m.node.Size())
	for m.step = range steps {
		m.random()
		if m.step%25 == 24 {
			m.compare()
		}
		if t.Failed() {
			t.Fatalf("seed %d, step %d: %s", seed, m.step, m.what)
		}
	}
	m.compare()
	checkStatus(t, m.node, m.node.Size())
	mustClose(t, m.node)
	s.check(t, m.store, false, "after the model test")
}

// span picks a range: often small, often around a power of two, sometimes large.
func (m *model) span() (off, n int64) {
	size := int64(len(m.data))
	switch m.rng.IntN(4) {
	case 0:
		n = 1 + m.rng.Int64N(600)
	case 1:
		n = 512 * (1 + m.rng.Int64N(32))
	case 2:
		n = 1 << (9 + m.rng.IntN(9))
	default:
		n = 1 + m.rng.Int64N(size/3)
	}
	n = min(n, size)
	off = m.rng.Int64N(size - n + 1)
	if m.rng.IntN(2) == 0 {
		off &^= 1<<(9+m.rng.IntN(8)) - 1
	}
	return off, n
}

func (m *model) random() {
	ctx := context.Background()
	off, n := m.span()
	var err error
	switch k := m.rng.IntN(20); {
	case k < 9:
		m.what = fmt.Sprintf("write %d+%d", off, n)
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(m.rng.Uint32())
		}
		if err = m.node.WriteAt(ctx, p, off, 0); err == nil {
			copy(m.data[off:], p)
		}
	case k < 13:
		f := formats.WriteFlags(0)
		if m.rng.IntN(2) == 0 {
			f = formats.MayUnmap
		}
		m.what = fmt.Sprintf("zero %d+%d flags %d", off, n, f)
		if err = m.node.WriteZeroes(ctx, off, n, f); err == nil {
			clear(m.data[off : off+n])
		}
	case k < 15:
		m.what = fmt.Sprintf("discard %d+%d", off, n)
		err = m.discard(ctx, off, n)
	case k < 16:
		m.what = "flush"
		err = m.node.Flush(ctx)
	case k < 17:
		m.what = "reopen"
		m.reopen()
	case k < 18:
		err = m.resize(ctx)
	default:
		m.what = fmt.Sprintf("read %d+%d", off, n)
		p := make([]byte, n)
		if err = m.node.ReadAt(ctx, p, off); err == nil && !bytes.Equal(p, m.data[off:off+n]) {
			m.t.Errorf("%s differs at %d", m.what, off+firstDifference(p, m.data[off:off+n]))
		}
	}
	if err != nil {
		m.t.Errorf("%s: %v", m.what, err)
	}
}

// discard leaves each byte as it was or zero; the model learns which.
func (m *model) discard(ctx context.Context, off, n int64) error {
	if err := m.node.Discard(ctx, off, n); err != nil {
		return err
	}
	p := make([]byte, n)
	if err := m.node.ReadAt(ctx, p, off); err != nil {
		return err
	}
	for i, b := range p {
		if b != 0 && b != m.data[off+int64(i)] {
			return fmt.Errorf("byte %d is %#x after a discard, was %#x", off+int64(i), b, m.data[off+int64(i)])
		}
	}
	copy(m.data[off:], p)
	return nil
}

func (m *model) reopen() {
	mustClose(m.t, m.node)
	if m.rng.IntN(4) == 0 {
		m.s.check(m.t, m.store, false, "in the model test")
	}
	m.node = m.s.mustOpen(m.t, m.store, readWrite)
	if m.node.Size() != int64(len(m.data)) {
		m.t.Errorf("size %d after reopening, was %d", m.node.Size(), len(m.data))
	}
}

func (m *model) resize(ctx context.Context) error {
	size := (1 + m.rng.Int64N(2*m.s.size()/512)) * 512
	m.what = fmt.Sprintf("resize %d to %d", len(m.data), size)
	err := m.node.Truncate(ctx, size, formats.PreallocOff)
	if errors.Is(err, syscall.ENOTSUP) { // the format cannot, or cannot shrink
		return nil
	}
	if err != nil {
		return err
	}
	if m.s.Noise {
		m.s.silence(m.t, m.node, int64(len(m.data)))
	}
	grown := make([]byte, size)
	copy(grown, m.data)
	m.data = grown
	return nil
}

func (m *model) compare() {
	got := make([]byte, len(m.data))
	if err := m.node.ReadAt(context.Background(), got, 0); err != nil {
		m.t.Errorf("read of all: %v", err)
	} else if !bytes.Equal(got, m.data) {
		m.t.Errorf("content differs from the model at %d", firstDifference(got, m.data))
	}
}

func firstDifference(a, b []byte) int64 {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return int64(i)
		}
	}
	return int64(min(len(a), len(b)))
}
