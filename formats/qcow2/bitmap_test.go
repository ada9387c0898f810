package qcow2_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/formats/bitmap"
	"platter/formats/formatstest"
)

func bitmapStore(t testing.TB, n *chain.Node) formats.BitmapStore {
	t.Helper()
	b, ok := formats.As[formats.BitmapStore](n)
	if !ok {
		t.Fatal("no BitmapStore")
	}
	return b
}

func sameBits(t testing.TB, what string, got, want *bitmap.Bitmap) {
	t.Helper()
	for off := int64(0); ; {
		a, n := got.Next(off)
		b, m := want.Next(off)
		if a != b || n != m {
			t.Fatalf("%s: dirty run at %#x+%#x, want %#x+%#x", what, a, n, b, m)
		}
		if n == 0 {
			return
		}
		off = a + n
	}
}

// setFlags changes the flags of the first bitmap in the file.
func setFlags(b []byte, flags uint32) {
	be := binary.BigEndian
	for at := 112; ; {
		typ, n := be.Uint32(b[at:]), int(be.Uint32(b[at+4:]))
		if typ == 0x23852875 {
			be.PutUint32(b[be.Uint64(b[at+24:])+12:], flags)
			return
		}
		if typ == 0 {
			panic("no bitmaps extension")
		}
		at += 8 + (n+7)&^7
	}
}

// TestBitmapMessages holds errors to QEMU's words.
func TestBitmapMessages(t *testing.T) {
	ctx := context.Background()
	s := newImage(t, "", 1<<20)
	n := openStore(t, s, rw)
	must(t, n, func() error { return bitmapStore(t, n).AddBitmap(ctx, "a", 0, true) })
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	raw := s.Bytes("disk")
	setFlags(raw, 3)
	s.Put("disk", raw)
	n = openStore(t, s, rw)
	defer n.Close()
	b := bitmapStore(t, n)
	for _, c := range []struct {
		what string
		do   func() error
		want string
	}{
		{"add again", func() error { return b.AddBitmap(ctx, "a", 0, true) }, "Bitmap already exists: a"},
		{"clear", func() error { return b.ClearBitmap(ctx, "a") }, "Bitmap 'a' is inconsistent and cannot be used"},
		{"remove another", func() error { return b.RemoveBitmap(ctx, "x") }, "Dirty bitmap 'x' not found"},
		{"granularity", func() error { return b.AddBitmap(ctx, "g", 1<<32, true) }, "Can't make bitmap 'g' persistent in " +
			"'#block100': Granularity exceeds maximum (2147483648 bytes)"},
		{"name", func() error { return b.AddBitmap(ctx, strings.Repeat("n", 1024), 512, true) }, "Can't make bitmap '" +
			strings.Repeat("n", 1024) + "' persistent in '#block100': Name length exceeds maximum (1023 characters)"},
		{"resize", func() error {
			r, _ := formats.As[formats.Resizer](n.Unwrap())
			return r.Truncate(ctx, 2<<20, formats.PreallocOff)
		}, "Bitmap 'a' is inconsistent and cannot be used"},
		{"remove", func() error { return b.RemoveBitmap(ctx, "a") }, ""},
		{"add", func() error { return b.AddBitmap(ctx, "a", 0, true) }, ""},
		{"other size", func() error { return b.MergeBitmap(ctx, "a", bitmap.New(2<<20, 512)) }, "Bitmaps are of different sizes " +
			"(destination size is 1048576, source size is 2097152) and can't be merged"},
	} {
		got := ""
		if err := n.Exclusive(c.do); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}

// TestHostileBitmaps opens directories that cannot be right.
func TestHostileBitmaps(t *testing.T) {
	ctx := context.Background()
	s := newImage(t, "", 1<<20)
	n := openStore(t, s, rw)
	must(t, n, func() error { return bitmapStore(t, n).AddBitmap(ctx, "a", 0, true) })
	n.Close()
	good := s.Bytes("disk")
	dir := bytes.Index(good, []byte{0, 0, 0, 1, 0, 0, 0, 2, 1, 16, 0, 1, 0, 0, 0, 0, 'a'}) - 8
	if dir < 0 {
		t.Fatal("no directory entry")
	}
	for k, change := range []func(b []byte){
		func(b []byte) { b[dir+12] = 1 },                          // reserved flag
		func(b []byte) { b[dir+16] = 2 },                          // type
		func(b []byte) { b[dir+17] = 40 },                         // granularity
		func(b []byte) { b[dir+18] = 255 },                        // length of the name
		func(b []byte) { b[dir+20] = 255 },                        // extra data
		func(b []byte) { b[dir+7] = 1 },                           // unaligned table
		func(b []byte) { b[dir+8] = 0x7f },                        // size of the table
		func(b []byte) { b[dir+11] = 2 },                          // entries that nothing needs
		func(b []byte) { binary.BigEndian.PutUint64(b[dir:], 0) }, // no table
	} {
		b := bytes.Clone(good)
		change(b)
		s.Put("disk", b)
		n, err := chain.Open(ctx, storeEnv(s, nil), chain.Request{Filename: formatstest.Name("disk"), Format: "qcow2", Flags: rw})
		if err == nil {
			n.Close()
			t.Errorf("change %d: opens", k)
		} else if !errors.Is(err, syscall.EINVAL) {
			t.Errorf("change %d: %v", k, err)
		}
		if !bytes.Equal(s.Bytes("disk"), b) {
			t.Errorf("change %d: the file was changed", k)
		}
	}
}

// TestBitmapsAsStock lets stock and us record the same changes, and merge.
func TestBitmapsAsStock(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, g := range []string{"512", "64k", "2M"} {
		dir := fastDir(t)
		ours, theirs := filepath.Join(dir, "ours"), filepath.Join(dir, "theirs")
		stock(t, "qemu-img", "create", "-q", "-f", "qcow2", theirs, "64M")
		stock(t, "qemu-img", "bitmap", "--add", "-g", g, theirs, "b")
		raw, _ := os.ReadFile(theirs)
		os.WriteFile(ours, raw, 0o600)
		n := openFile(t, ours, rw)
		rng := rand.New(rand.NewPCG(8, 8))
		args := []string{}
		for range 40 {
			off, count := rng.Int64N(60<<11)*512, 512*(1+rng.Int64N(1<<rng.IntN(11)))
			verb := []string{"write", "write -z", "discard", "write -c"}[rng.IntN(4)]
			var err error
			switch verb {
			case "write":
				err = n.WriteAt(ctx, make([]byte, count), off, 0)
			case "write -z":
				err = n.WriteZeroes(ctx, off, count, 0)
			case "discard":
				err = n.Discard(ctx, off, count)
			default:
				off, count = off&^65535, 65536
				err = n.WriteCompressed(ctx, make([]byte, count), off)
			}
			if err != nil {
				t.Fatal(err)
			}
			args = append(args, "-c", fmt.Sprintf("%s %d %d", verb, off, count))
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		stock(t, "qemu-io", append(args, theirs)...)
		stock(t, "qemu-img", "check", ours)
		bits := map[string]*bitmap.Bitmap{}
		for _, f := range []string{ours, theirs} {
			stock(t, "qemu-img", "bitmap", "--add", "--disable", f, "sum")
			stock(t, "qemu-img", "bitmap", "--merge", "b", f, "sum")
			n := openFile(t, f, 0)
			for _, name := range []string{"b", "sum"} {
				b, err := bitmapStore(t, n).Bitmap(ctx, name)
				if err != nil {
					t.Fatal(err)
				}
				bits[f+name] = b
			}
			n.Close()
		}
		sameBits(t, "recorded at "+g, bits[ours+"b"], bits[theirs+"b"])
		sameBits(t, "merged by stock at "+g, bits[ours+"sum"], bits[theirs+"sum"])
	}
}
