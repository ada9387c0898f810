package formatstest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"platter/chain"
	"platter/formats"
)

// sector values are the number of the operation that wrote them; 0 is a sector of zeroes.
type value uint32

const sector = 512

// fill makes the content of sector i as operation v writes it.
func fill(p []byte, v value, i int64) {
	if v == 0 {
		clear(p)
		return
	}
	for k := 0; k < sector; k += 16 {
		binary.LittleEndian.PutUint32(p[k:], uint32(v))
		binary.LittleEndian.PutUint64(p[k+4:], uint64(i))
		binary.LittleEndian.PutUint32(p[k+12:], ^uint32(v))
	}
}

// history is what each sector may be after a crash: the values since the last flush that was acknowledged.
type history struct {
	at     int       // events in the store's log when this state began
	values [][]value // by sector
}

// Crashes runs a workload, then crashes it at moments all over its log: after each crash the image opens, check finds
// leaks at most, and every sector has its flushed value or one written since.
func Crashes(t *testing.T, s Subject, steps int) {
	store := s.create(t)
	start := store.Events()
	n := s.mustOpen(t, store, readWrite)
	states := s.crashWorkload(t, store, n, steps)
	mustClose(t, n)
	total := store.Events()
	const most = 150
	stride := max((total-start)/most, 1)
	for k := start; k <= total; k += stride {
		rng := rand.New(rand.NewPCG(uint64(k), 5))
		s.verifyCrash(t, store.Crash(k, rng), states, k)
		if t.Failed() {
			t.Fatalf("crash after event %d of %d", k, total)
		}
	}
}

// crashWorkload writes, zeroes, discards and flushes whole sectors and keeps the history.
func (s Subject) crashWorkload(t *testing.T, store *Store, n *chain.Node, steps int) []history {
	ctx, rng := context.Background(), rand.New(rand.NewPCG(42, 42))
	sectors := n.Size() / sector
	now := make([][]value, sectors)
	for i := range now {
		now[i] = []value{0}
	}
	states := []history{{store.Events(), now}}
	for step := 1; step <= steps; step++ {
		first := rng.Int64N(sectors)
		count := min(1+rng.Int64N(1<<rng.IntN(9)), sectors-first)
		// A write may reach the disk as soon as it starts, so its values belong to the state from then on.
		next := history{store.Events(), slices.Clone(now)}
		var err error
		switch k := rng.IntN(10); {
		case k < 6:
			p := make([]byte, count*sector)
			for i := range count {
				fill(p[i*sector:(i+1)*sector], value(step), first+i)
				next.values[first+i] = append(slices.Clone(now[first+i]), value(step))
			}
			err = n.WriteAt(ctx, p, first*sector, 0)
		case k < 8:
			for i := range count {
				next.values[first+i] = append(slices.Clone(now[first+i]), 0)
			}
			if k == 6 {
				err = n.WriteZeroes(ctx, first*sector, count*sector, formats.MayUnmap)
			} else {
				err = n.Discard(ctx, first*sector, count*sector)
			}
		default:
			if err = n.Flush(ctx); err == nil {
				next = history{store.Events(), s.settle(t, n)}
			}
		}
		if err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		states, now = append(states, next), next.values
	}
	return states
}

// settle reads the image: after a flush each sector has exactly the value that it reads as.
func (s Subject) settle(t *testing.T, n *chain.Node) [][]value {
	values, err := sectorValues(n)
	if err != nil {
		t.Fatal(err)
	}
	now := make([][]value, len(values))
	for i, v := range values {
		now[i] = []value{v}
	}
	return now
}

// sectorValues reads which operation wrote each sector; a sector that no operation can have left is an error.
func sectorValues(n *chain.Node) ([]value, error) {
	all := make([]byte, n.Size())
	if err := n.ReadAt(context.Background(), all, 0); err != nil {
		return nil, err
	}
	values, want := make([]value, n.Size()/sector), make([]byte, sector)
	for i := range values {
		p := all[i*sector : (i+1)*sector]
		values[i] = value(binary.LittleEndian.Uint32(p))
		if fill(want, values[i], int64(i)); !bytes.Equal(p, want) {
			return nil, fmt.Errorf("sector %d holds what nobody wrote there: % x…", i, p[:20])
		}
	}
	return values, nil
}

// recover opens the image for writing once.
func (s Subject) recover(t *testing.T, store *Store) {
	t.Helper()
	n, err := s.open(t, store, readWrite)
	if err != nil {
		t.Fatalf("open for recovery: %v", err)
	}
	mustClose(t, n)
}

func (s Subject) verifyCrash(t *testing.T, store *Store, states []history, k int) {
	t.Helper()
	if s.Recovers {
		s.recover(t, store)
	}
	s.check(t, store, true, fmt.Sprintf("after a crash at event %d", k))
	n, err := s.open(t, store, 0)
	if err != nil {
		// Formats with a journal or a mark of being in use may need a writer to recover.
		if n, err = s.open(t, store, readWrite); err != nil {
			t.Fatalf("open after a crash: %v", err)
		}
	}
	defer n.Close()
	values, err := sectorValues(n)
	if err != nil {
		if !s.Unsynced {
			t.Errorf("after a crash at event %d: %v", k, err)
		}
		return
	}
	state := states[0]
	for _, h := range states {
		if h.at <= k {
			state = h
		}
	}
	for i, v := range values {
		if !slices.Contains(state.values[i], v) {
			t.Errorf("sector %d has value %d after a crash at event %d, may have %v", i, v, k, state.values[i])
			return
		}
	}
}
