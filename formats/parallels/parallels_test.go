package parallels_test

import (
	"context"
	"encoding/binary"
	"strings"
	"syscall"
	"testing"

	"platter/formats"
	"platter/formats/formatstest"
	"platter/formats/parallels"
	"platter/formats/raw"
)

func TestSuite(t *testing.T) {
	for _, o := range []string{"", "cluster_size=64k", "cluster_size=32256"} {
		t.Run(o, func(t *testing.T) {
			formatstest.Run(t, formatstest.Subject{
				Drivers: []*formats.Driver{raw.Driver(), parallels.Driver()}, Format: "parallels", Options: o, Recovers: true})
		})
	}
}

// A header can ask for a BAT of 2 GiB in a small file; what is not in the file is not gone through.
func TestTableBehindTheFile(t *testing.T) {
	h := make([]byte, 2<<20)
	copy(h, "WithouFreSpacExt")
	le := binary.LittleEndian
	for at, v := range map[int]uint32{16: 2, 28: 2048, 32: 1<<29 - 1, 48: 1 << 22} {
		le.PutUint32(h[at:], v)
	}
	le.PutUint64(h[36:], 1<<40)
	store := formatstest.NewStore()
	store.Put("d", h)
	store.SetFault(&formatstest.Fault{Op: formatstest.OpRead, After: 100, Errno: syscall.EIO})
	n, err := openIn(store, "d", formats.ForCheck)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if e, err := n.Status(context.Background(), 0, n.Size()); err != nil || e.Len < 1<<35 {
		t.Errorf("status: %+v, %v", e, err)
	}
	var words strings.Builder
	c, _ := formats.As[formats.Checker](n)
	r, err := c.Check(context.Background(), 0, testEnv(&words).Env)
	if err != nil || r.TotalClusters != 1<<29-1 || r.Corruptions != 1 {
		t.Errorf("check: %+v, %v", r, err)
	}
}
