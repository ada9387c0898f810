package copier_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"platter/formats"
	"platter/tools/copier"
)

// counting gives pieces of one byte, numbered by their offset.
func counting(n int64) func(context.Context) (copier.Piece, error) {
	next := int64(0)
	return func(context.Context) (copier.Piece, error) {
		if next == n {
			return copier.Piece{}, io.EOF
		}
		next++
		return copier.Piece{Off: next - 1, Len: 1}, nil
	}
}

func jitter() {
	if rand.IntN(4) == 0 {
		time.Sleep(time.Duration(rand.IntN(200)) * time.Microsecond)
	}
}

func TestOrderedStoresFollowNext(t *testing.T) {
	for _, early := range []bool{false, true} {
		var got []int64
		err := copier.Run(t.Context(), copier.Job{
			Workers: 4, Buffer: 8, Ordered: true, Early: early, Next: counting(300),
			Load: func(context.Context, copier.Piece, []byte, *copier.Scratch) error { jitter(); return nil },
			Store: func(_ context.Context, p copier.Piece, _ []byte, _ *copier.Scratch, turn *formats.Turn) error {
				if err := turn.Await(); err != nil {
					return err
				}
				got = append(got, p.Off) // the turn alone keeps this from being a race
				turn.Pass()
				jitter()
				return nil
			},
		})
		if err != nil || len(got) != 300 || !slices.IsSorted(got) {
			t.Errorf("early %t: %v, stored %v", early, err, got)
		}
	}
}

func TestPassedTurnsOverlap(t *testing.T) {
	met := make(chan bool)
	err := copier.Run(t.Context(), copier.Job{
		Workers: 2, Buffer: 8, Ordered: true, Next: counting(2),
		Store: func(_ context.Context, p copier.Piece, _ []byte, _ *copier.Scratch, turn *formats.Turn) error {
			turn.Pass()
			select { // each waits for the other, which works only if both are in Store
			case met <- true:
			case <-met:
			case <-time.After(10 * time.Second):
				return fmt.Errorf("piece %d is alone", p.Off)
			}
			return nil
		},
	})
	if err != nil {
		t.Error(err)
	}
}

func TestFirstErrorInOrderCounts(t *testing.T) {
	for range 50 {
		var stored sync.Map
		err := copier.Run(t.Context(), copier.Job{
			Workers: 4, Buffer: 8, Ordered: true, Next: counting(40),
			Load: func(_ context.Context, p copier.Piece, _ []byte, _ *copier.Scratch) error {
				jitter()
				if p.Off >= 20 {
					return fmt.Errorf("piece %d", p.Off)
				}
				return nil
			},
			Store: func(_ context.Context, p copier.Piece, _ []byte, _ *copier.Scratch, _ *formats.Turn) error {
				stored.Store(p.Off, true)
				return nil
			},
		})
		if err == nil || err.Error() != "piece 20" {
			t.Fatalf("error %v", err)
		}
		for off := range int64(40) {
			if _, ok := stored.Load(off); ok != (off < 20) {
				t.Fatalf("piece %d stored: %t", off, ok)
			}
		}
	}
}

func TestErrorOfNext(t *testing.T) {
	left := 10
	var stored atomic.Int64
	err := copier.Run(t.Context(), copier.Job{
		Workers: 3, Buffer: 8, Ordered: true,
		Next: func(context.Context) (copier.Piece, error) {
			if left--; left < 0 {
				return copier.Piece{}, errors.New("no status")
			}
			return copier.Piece{Off: int64(left), Len: 1}, nil
		},
		Store: func(context.Context, copier.Piece, []byte, *copier.Scratch, *formats.Turn) error {
			jitter()
			stored.Add(1)
			return nil
		},
	})
	if err == nil || err.Error() != "no status" || stored.Load() != 10 {
		t.Errorf("%v after %d pieces", err, stored.Load())
	}
}

func TestCancelEndsTheJob(t *testing.T) {
	for _, ordered := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		var stored atomic.Int64
		err := copier.Run(ctx, copier.Job{
			Workers: 2, Buffer: 8, Ordered: ordered, Next: counting(1 << 40),
			Store: func(context.Context, copier.Piece, []byte, *copier.Scratch, *formats.Turn) error {
				if stored.Add(1) == 100 {
					cancel()
				}
				return nil
			},
		})
		if !errors.Is(err, context.Canceled) || stored.Load() > 110 {
			t.Errorf("ordered %t: %v after %d pieces", ordered, err, stored.Load())
		}
	}
}

func TestBuffersAreBounded(t *testing.T) {
	var mu sync.Mutex
	seen := map[*byte]bool{}
	lengths := []int64{1, 100, 4096, 1 << 20, 5 << 20}
	i := 0
	err := copier.Run(t.Context(), copier.Job{
		Workers: 3, Buffer: 1 << 20,
		Next: func(context.Context) (copier.Piece, error) {
			if i == 200 {
				return copier.Piece{}, io.EOF
			}
			i++
			return copier.Piece{Len: lengths[i%len(lengths)]}, nil
		},
		Store: func(_ context.Context, p copier.Piece, buf []byte, _ *copier.Scratch, _ *formats.Turn) error {
			if int64(len(buf)) != min(p.Len, 1<<20) {
				return fmt.Errorf("a piece of %d has a buffer of %d", p.Len, len(buf))
			}
			mu.Lock()
			defer mu.Unlock()
			seen[&buf[0]] = true
			return nil
		},
	})
	if err != nil || len(seen) > 9 { // each of three workers grows its buffer twice at most
		t.Errorf("%v, %d buffers", err, len(seen))
	}
}
