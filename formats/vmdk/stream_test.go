package vmdk_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/formats/formatstest"
	"platter/formats/option"
	"platter/formats/raw"
	"platter/formats/vmdk"
)

const (
	streamGrain  = 64 << 10
	streamGrains = 20
)

// streamDisk is a streamOptimized disk in a store, and what was written to it.
type streamDisk struct {
	store *formatstest.Store
	want  [streamGrains][]byte
	sure  [streamGrains]bool // flushed
}

func streamEnv(t testing.TB, store *formatstest.Store) *chain.Env {
	env := *environment(t)
	env.Registry = formats.NewRegistry(store.Driver(), raw.Driver(), vmdk.Driver())
	return &env
}

func newStreamDisk(t testing.TB) *streamDisk {
	t.Helper()
	d := &streamDisk{store: formatstest.NewStore()}
	env := streamEnv(t, d.store)
	v := &option.Values{}
	drv := env.Registry.Find("vmdk")
	if err := v.Set(drv.CreateOpts, "subformat", "streamOptimized"); err != nil {
		t.Fatal(err)
	}
	r := chain.CreateRequest{Filename: formatstest.Name("disk.vmdk"), Driver: drv, Options: v, Size: streamGrains * streamGrain}
	if err := chain.Create(context.Background(), env, r); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *streamDisk) open(t testing.TB, store *formatstest.Store, flags formats.OpenFlags) *chain.Node {
	t.Helper()
	n, err := chain.Open(context.Background(), streamEnv(t, store),
		chain.Request{Filename: formatstest.Name("disk.vmdk"), Format: "vmdk", Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// write stores all grains in a random order, some that compress and some that do not, with a flush after each third.
// step is called after each operation with what it returned.
func (d *streamDisk) write(n *chain.Node, rng *rand.Rand, step func(err error)) {
	ctx := context.Background()
	c, _ := formats.As[formats.CompressedWriter](n)
	var done []int
	for i, g := range rng.Perm(streamGrains) {
		p := bytes.Repeat([]byte{byte(g + 1)}, streamGrain)
		if g%3 == 0 {
			for k := range p {
				p[k] = byte(rng.Uint32())
			}
		}
		d.want[g] = p
		err := c.WriteCompressed(ctx, p, int64(g)*streamGrain)
		if err == nil {
			done = append(done, g)
		}
		step(err)
		if i%3 == 2 {
			if err = n.Flush(ctx); err == nil {
				for _, g := range done {
					d.sure[g] = true
				}
			}
			step(err)
		}
	}
}

// verify finds every flushed grain, and the others either whole or not there.
func (d *streamDisk) verify(t *testing.T, store *formatstest.Store, sure [streamGrains]bool, when string) {
	t.Helper()
	n := d.open(t, store, 0)
	defer n.Close()
	c, _ := formats.As[formats.Checker](n)
	env := *environment(t).Env
	env.Beyond = true
	if r, err := c.Check(t.Context(), 0, &env); err != nil || r.Corruptions > 0 {
		t.Fatalf("%s: check: %+v, %v", when, r, err)
	}
	p := make([]byte, streamGrain)
	for g, want := range d.want {
		if err := n.ReadAt(t.Context(), p, int64(g)*streamGrain); err != nil {
			t.Fatalf("%s: grain %d: %v", when, g, err)
		}
		there := want != nil && bytes.Equal(p, want)
		if !there && (sure[g] || !bytes.Equal(p, make([]byte, streamGrain))) {
			t.Fatalf("%s: grain %d is neither what was written nor missing (flushed: %v)", when, g, sure[g])
		}
	}
}

// TestStreamCrash crashes a stream at each of its writes.
func TestStreamCrash(t *testing.T) {
	d := newStreamDisk(t)
	start := d.store.Events()
	n := d.open(t, d.store, formats.ReadWrite)
	type moment struct {
		at   int
		sure [streamGrains]bool
	}
	moments := []moment{{start, d.sure}}
	d.write(n, rand.New(rand.NewPCG(1, 2)), func(err error) {
		if err != nil {
			t.Fatal(err)
		}
		moments = append(moments, moment{d.store.Events(), d.sure})
	})
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	for k := start; k <= d.store.Events(); k++ {
		sure := moments[0].sure
		for _, m := range moments {
			if m.at <= k {
				sure = m.sure
			}
		}
		d.verify(t, d.store.Crash(k, rand.New(rand.NewPCG(uint64(k), 3))), sure, fmt.Sprintf("crash after event %d", k))
	}
}

// TestStreamFaults lets each write and each flush fail, once or from then on.
func TestStreamFaults(t *testing.T) {
	for _, op := range []formatstest.Op{formatstest.OpWrite, formatstest.OpFlush} {
		for _, once := range []bool{true, false} {
			for after, struck := 0, true; struck; after++ {
				d := newStreamDisk(t)
				n := d.open(t, d.store, formats.ReadWrite)
				f := &formatstest.Fault{Op: op, After: after, Once: once, Errno: syscall.ENOSPC}
				d.store.SetFault(f)
				failed := false
				d.write(n, rand.New(rand.NewPCG(1, 2)), func(err error) { failed = failed || err != nil })
				failed = n.Close() != nil || failed
				d.store.SetFault(nil)
				when := fmt.Sprintf("op %d after %d, once %v", op, after, once)
				if struck = f.Hits() > 0; struck && !failed {
					t.Errorf("%s: the failure was swallowed", when)
				}
				d.verify(t, d.store, d.sure, when)
			}
		}
	}
}
