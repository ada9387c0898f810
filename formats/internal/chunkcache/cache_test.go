package chunkcache

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

func TestManyReadersDecodeOnce(t *testing.T) {
	c := New(1 << 20)
	var calls atomic.Int32
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			p, err := c.Get(7, func() ([]byte, error) { calls.Add(1); return []byte("seven"), nil })
			if err != nil || string(p) != "seven" {
				t.Errorf("%q, %v", p, err)
			}
		})
	}
	wg.Wait()
	if n := calls.Load(); n != 1 {
		t.Errorf("decoded %d times", n)
	}
}

func TestTheOldestGoesFirst(t *testing.T) {
	c := New(300)
	decoded := map[int64]int{}
	get := func(i int64) {
		c.Get(i, func() ([]byte, error) { decoded[i]++; return make([]byte, 100), nil })
	}
	for _, i := range []int64{1, 2, 3, 1, 4, 1, 3, 2} {
		get(i)
	}
	if decoded[1] != 1 || decoded[3] != 1 || decoded[2] != 2 {
		t.Errorf("decoded %v: want 2 to be dropped, and 1 and 3 kept", decoded)
	}
	if c.bytes > 300 || len(c.chunks) != c.order.Len() {
		t.Errorf("%d bytes in %d chunks, %d in order", c.bytes, len(c.chunks), c.order.Len())
	}
}

func TestErrorsAndForgottenChunksAreMadeAgain(t *testing.T) {
	c := New(100)
	fail := errors.New("no")
	if _, err := c.Get(1, func() ([]byte, error) { return nil, fail }); err != fail {
		t.Errorf("error %v", err)
	}
	c.Get(1, func() ([]byte, error) { return []byte{1}, nil })
	c.Forget(1)
	p, err := c.Get(1, func() ([]byte, error) { return []byte{2}, nil })
	if err != nil || p[0] != 2 {
		t.Errorf("after Forget: %v, %v", p, err)
	}
	if c.bytes != 1 {
		t.Errorf("%d bytes counted, 1 held", c.bytes)
	}
}
