package vhdx

import (
	"context"
	"testing"

	"platter/formats"
	"platter/formats/formatstest"
)

// FuzzOpen opens damaged images, reads, checks, and writes them: an error is right, a panic or a hang is not.
func FuzzOpen(f *testing.F) {
	store, _ := family(f, 512)
	for _, base := range []string{"parent.vhdx", "child.vhdx"} {
		for _, at := range []int64{0, headerAt[0] + 8, headerAt[1] + 68, regionTableAt + 8, batAt, metaAt + 10, valueAt, valueAt + 8, valueAt + 260} {
			f.Add(store.Bytes(base)[:4*mib], at, []byte{0xff, 0x00, 0x40, 0x07})
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, at int64, over []byte) {
		if len(data) > 16*mib {
			return
		}
		if at >= 0 && at < int64(len(data)) {
			copy(data[at:], over)
		}
		// The sums are made right, so that what they protect is reached.
		for _, s := range []struct{ at, n int }{{int(headerAt[0]), headerSize}, {int(headerAt[1]), headerSize}, {regionTableAt, tableSize}} {
			if s.at+s.n <= len(data) {
				seal(data[s.at : s.at+s.n])
			}
		}
		store := formatstest.NewStore()
		store.Put("a.vhdx", data)
		ctx := context.Background()
		for _, flags := range []formats.OpenFlags{formats.NoBacking, formats.NoBacking | formats.ForCheck, formats.NoBacking | readWrite} {
			n, err := openIn(store, "a.vhdx", "vhdx", flags)
			if err != nil {
				continue
			}
			p := make([]byte, 64<<10)
			n.ReadAt(ctx, p[:min(int64(len(p)), n.Size())], 0)
			n.Status(ctx, 0, n.Size())
			if c, ok := formats.As[formats.Checker](n); ok {
				c.Check(ctx, 0, storeEnv(store).Env)
			}
			if img, ok := n.Unwrap().(*image); ok && flags.Has(readWrite) && img.head.blockSize <= 4*mib && img.end < 64*mib {
				n.WriteAt(ctx, p[:min(512, n.Size())], 0, 0)
			}
			n.Close()
		}
	})
}
