package qcow2_test

import (
	"bytes"
	"context"
	"testing"

	"platter/formats"
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
