package cloop

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"strings"
	"testing"

	"platter/formats"
	"platter/formats/protocol/mem"
)

// build makes an image of the given blocks of 1024 bytes.
func build(blocks ...[]byte) []byte {
	out := make([]byte, offsetsAt+8*(len(blocks)+1))
	copy(out, magic)
	binary.BigEndian.PutUint32(out[sizesAt:], 1024)
	binary.BigEndian.PutUint32(out[sizesAt+4:], uint32(len(blocks)))
	for i, b := range blocks {
		binary.BigEndian.PutUint64(out[offsetsAt+8*i:], uint64(len(out)))
		var z bytes.Buffer
		w := zlib.NewWriter(&z)
		w.Write(b)
		w.Close()
		out = append(out, z.Bytes()...)
	}
	binary.BigEndian.PutUint64(out[offsetsAt+8*len(blocks):], uint64(len(out)))
	return out
}

func block(c byte) []byte { return bytes.Repeat([]byte{c, 0, c}, 342)[:1024] }

func openBytes(b []byte) (formats.Image, error) {
	return open(context.Background(), formats.OpenArgs{File: mem.NewFile(b)})
}

func TestBlocksAreDecompressed(t *testing.T) {
	d, err := openBytes(build(block('a'), block('b'), block('c')))
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Join([][]byte{block('a'), block('b'), block('c')}, nil)
	got := make([]byte, 2048)
	if err := d.ReadAt(context.Background(), got, 512); err != nil || !bytes.Equal(got, want[512:2560]) {
		t.Errorf("content differs (%v)", err)
	}
}

func TestABlockOfTheWrongSizeIsAnError(t *testing.T) {
	for _, b := range [][]byte{block('b')[:1000], append(block('b'), 1)} {
		d, err := openBytes(build(block('a'), b))
		if err != nil {
			t.Fatal(err)
		}
		if err := d.ReadAt(context.Background(), make([]byte, 512), 0); err != nil {
			t.Errorf("the good block: %v", err)
		}
		err = d.ReadAt(context.Background(), make([]byte, 512), 1024)
		if err == nil || !strings.Contains(err.Error(), "block 1") {
			t.Errorf("a block of %d bytes: %v", len(b), err)
		}
	}
}

func TestDamagedHeadersAreRefused(t *testing.T) {
	for _, c := range []struct {
		at   int
		v    uint32
		want string
	}{
		{sizesAt, 513, "block_size 513 must be a multiple of 512"},
		{sizesAt, 0, "block_size cannot be zero"},
		{sizesAt, 128 << 20, "block_size 134217728 must be 64 MB or less"},
		{sizesAt + 4, 1<<32 - 1, "n_blocks 4294967295 must be 536870911 or less"},
		{sizesAt + 4, 1 << 28, "image requires too many offsets, try increasing block size"},
		{offsetsAt, 1 << 16, "offsets not monotonically increasing at index 1, image file is corrupt"},
		{offsetsAt + 8, 1 << 16, "invalid compressed block size at index 1, image file is corrupt"},
	} {
		b := build(block('a'), block('b'))
		binary.BigEndian.PutUint32(b[c.at:], c.v)
		if _, err := openBytes(b); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("field at %d = %#x: %v, want %q", c.at, c.v, err, c.want)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(build(block('a'), block('b')))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > sizesAt+4 && binary.BigEndian.Uint32(b[sizesAt:]) > 1<<20 {
			return // the size of a chunk is the user's memory, within the limit tested above
		}
		d, err := openBytes(b)
		if err != nil || d.Size() == 0 {
			return
		}
		d.ReadAt(context.Background(), make([]byte, 512), 0)
		d.ReadAt(context.Background(), make([]byte, 512), d.Size()-512)
	})
}
