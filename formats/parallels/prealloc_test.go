package parallels_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/formats/qobj"
)

// While the image is open its file is longer than what is used; it is cut when the image is closed.
func TestPreallocation(t *testing.T) {
	const header, cluster = 64 << 10, 64 << 10
	for _, c := range []struct {
		opts, fails string
		grown       int64 // length of the open file after a write of one cluster
	}{
		{"", "", header + cluster},
		{"prealloc-size=0", "", header + cluster},
		{"prealloc-size=1k", "", header + cluster},
		{"prealloc-size=1M", "", header + 1<<20},
		{"prealloc-size=1M,prealloc-mode=truncate", "", header + 1<<20},
		{"prealloc-mode=truncate", "", header + 128<<20},
		{"prealloc-mode=full", "invalid parameter value: full", 0},
	} {
		file := filepath.Join(t.TempDir(), "d")
		run(t, stock(t, "qemu-img"), "create", "-q", "-f", "parallels", "-o", "cluster_size=64k", file, "1M")
		opts := qobj.NewDict()
		for _, o := range strings.FieldsFunc(c.opts, func(r rune) bool { return r == ',' }) {
			k, v, _ := strings.Cut(o, "=")
			opts.Set(k, v)
		}
		var words strings.Builder
		n, err := chain.Open(context.Background(), testEnv(&words), chain.Request{Filename: file, Format: "parallels",
			Options: opts, Flags: formats.ReadWrite})
		if err != nil {
			if c.fails == "" || err.Error() != c.fails {
				t.Errorf("%s: %v, want %q", c.opts, err, c.fails)
			}
			continue
		}
		if err := n.WriteAt(context.Background(), []byte("x"), 300<<10, 0); err != nil {
			t.Errorf("%s: %v", c.opts, err)
		}
		if fi, err := os.Stat(file); err != nil || fi.Size() != c.grown {
			t.Errorf("%s: open: %d bytes, want %d (%v)", c.opts, fi.Size(), c.grown, err)
		}
		if err := n.Close(); err != nil {
			t.Errorf("%s: %v", c.opts, err)
		}
		if fi, err := os.Stat(file); err != nil || fi.Size() != header+cluster {
			t.Errorf("%s: closed: %d bytes (%v)", c.opts, fi.Size(), err)
		}
	}
}
