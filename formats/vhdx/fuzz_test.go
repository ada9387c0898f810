package vhdx

import (
	"bytes"
	"context"
	"testing"

	"platter/formats"
	"platter/formats/formatstest"
)

// FuzzOpen opens damaged images, reads, checks, and writes them: an error is right, a panic or a hang is not.
func FuzzOpen(f *testing.F) {
	store, _ := family(f, 512)
	bases := map[bool][]byte{}
	for child, base := range map[bool]string{false: "parent.vhdx", true: "child.vhdx"} {
		bases[child] = store.Bytes(base)[:4*mib]
		for _, at := range []uint32{0, 64<<10 + 8, 128<<10 + 68, 128<<10 + 48, regionTableAt + 8, regionTableAt + 32, batAt, metaAt + 10,
			valueAt, valueAt + 8, valueAt + 260} {
			f.Add(child, at, []byte{0xff, 0x00, 0x40, 0x07}, uint32(batAt+8), []byte{6, 0, 0x40, 0})
		}
	}
	f.Add(true, uint32(64<<10+48), []byte{1}, uint32(mib), []byte("loge\x00\x00\x00\x00\x00\x10\x00\x00"))
	// Changes of two places, not the whole file: what matters is in few of its bytes.
	f.Fuzz(func(t *testing.T, child bool, at uint32, over []byte, at2 uint32, over2 []byte) {
		data := bytes.Clone(bases[child])
		copy(data[at%(4*mib):], over)
		copy(data[at2%(4*mib):], over2)
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
