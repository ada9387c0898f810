package qcow2_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"strings"
	"testing"

	"platter/formats"
	"platter/formats/formatstest"
)

// TestGrowShowsNothingOld cuts a disk off within a cluster and makes it long again: what was behind the cut reads as
// zeroes, whatever stands right at it.
func TestGrowShowsNothingOld(t *testing.T) {
	ctx := context.Background()
	for _, opts := range []string{"", "extended_l2=on", "cluster_size=512", "data_file=store:data",
		"data_file=store:data,encrypt.format=aes,encrypt.key-secret=s", "compat=0.10"} {
		s := newImage(t, opts, 256<<10)
		n, err := openOptions(s, rw, keyOptions(opts))
		if err != nil {
			t.Fatal(err)
		}
		want := bytes.Repeat([]byte{7}, 256<<10)
		do := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatalf("%s: %v", opts, err)
			}
		}
		do(n.WriteAt(ctx, want, 0, 0))
		do(n.WriteZeroes(ctx, 60<<10, 12<<10, 0))
		clear(want[60<<10 : 72<<10])
		for _, cut := range []int64{200<<10 + 512, 66<<10 + 512} {
			do(n.Truncate(ctx, cut, formats.PreallocOff))
			do(n.Truncate(ctx, 256<<10, formats.PreallocOff))
			clear(want[cut:])
			same(t, opts, content(t, n), want)
		}
		do(n.Close())
	}
}

// TestGrowOverBackingCrashes makes an overlay longer over a backing file that is longer still, and crashes after every
// event: the new area never shows the backing file.
func TestGrowOverBackingCrashes(t *testing.T) {
	for _, opts := range []string{"", "cluster_size=4k", "cluster_size=16k,extended_l2=on", "compat=0.10,cluster_size=4k"} {
		const old, size = 40<<10 + 512, 900<<10 + 512
		base := bytes.Repeat([]byte{9}, 700<<10)
		s := newImageWith(t, strings.TrimPrefix(opts+",backing_file=store:base,backing_fmt=raw", ","), old,
			func(s *formatstest.Store) { s.Put("base", base) })
		n := openStore(t, s, rw)
		start := s.Events()
		if err := n.Truncate(context.Background(), size, formats.PreallocOff); err != nil {
			t.Fatal(err)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		want := append(bytes.Clone(base[:old]), make([]byte, size-old)...)
		for at := start; at <= s.Events(); at++ {
			c := openStore(t, s.Crash(at, rand.New(rand.NewPCG(uint64(at), 1))), 0)
			same(t, opts, content(t, c), want[:c.Size()])
			c.Close()
		}
	}
}
