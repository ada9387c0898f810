package bochs

import (
	"bytes"
	"context"
	"encoding/binary"
	"strings"
	"testing"

	"platter/formats"
	"platter/formats/protocol/mem"
)

// build makes an image of two extents of 8 sectors; the second is stored, with sectors 1, 2 and 7 set.
func build(version uint32) []byte {
	h := make([]byte, 512+8+512+8*512)
	copy(h, "Bochs Virtual HD Image")
	copy(h[32:], "Redolog")
	copy(h[48:], "Growing")
	le := binary.LittleEndian
	le.PutUint32(h[64:], version)
	le.PutUint32(h[68:], 512)
	le.PutUint32(h[72:], 2)
	le.PutUint32(h[76:], 1)
	le.PutUint32(h[80:], 4096)
	if version == version1 {
		le.PutUint64(h[84:], 8192)
	} else {
		le.PutUint64(h[88:], 8192)
	}
	le.PutUint32(h[512:], unallocated)
	h[520] = 1<<1 | 1<<2 | 1<<7
	for i := range 8 {
		copy(h[520+512+i*512:], bytes.Repeat([]byte{byte('a' + i)}, 512))
	}
	return h
}

func openBytes(b []byte) (formats.Image, error) {
	return open(context.Background(), formats.OpenArgs{File: mem.NewFile(b)})
}

func TestOnlySectorsInTheBitmapAreStored(t *testing.T) {
	for _, version := range []uint32{version1, version2} {
		d, err := openBytes(build(version))
		if err != nil {
			t.Fatal(err)
		}
		want := make([]byte, 8192)
		for _, i := range []int{1, 2, 7} {
			copy(want[4096+i*512:], bytes.Repeat([]byte{byte('a' + i)}, 512))
		}
		got := make([]byte, 8192)
		if err := d.ReadAt(context.Background(), got, 0); err != nil || !bytes.Equal(got, want) {
			t.Errorf("version %#x: content differs (%v)", version, err)
		}
	}
}

func TestDamagedHeadersAreRefused(t *testing.T) {
	for _, c := range []struct {
		at   int
		v    uint32
		want string
	}{
		{64, 3, "not in Bochs format"},
		{72, maxCatalog + 1, "Catalog size is too large"},
		{72, 1, "Catalog size is too small for this disk size"},
		{80, 0, "Extent size must be at least 512"},
		{80, 4097, "Extent size 4097 is not a power of two"},
		{80, 1 << 24, "Extent size 16777216 is too large"},
		{76, 0, "too small"},
		{92, 1 << 20, "Catalog size is too small"},
	} {
		b := build(version2)
		binary.LittleEndian.PutUint32(b[c.at:], c.v)
		if _, err := openBytes(b); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("field at %d = %#x: %v, want %q", c.at, c.v, err, c.want)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(build(version1))
	f.Add(build(version2))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := openBytes(append(b, make([]byte, 512)...))
		if err != nil {
			return
		}
		d.ReadAt(context.Background(), make([]byte, min(d.Size(), 64<<10)/512*512+512)[:min(d.Size(), 64<<10)/512*512], 0)
	})
}
