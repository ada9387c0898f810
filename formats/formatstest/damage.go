package formatstest

import (
	"bytes"
	"context"
	"testing"

	"platter/formats"
)

// Damage fuzzes images of a format: it changes two places of a good one, opens it in every way, and reads, checks and
// writes it. An error is right; a panic, a hang or a huge allocation is not. seeds are places where that is of interest.
// writable says whether a damaged image may be written in memory: not one whose clusters are said to have a gigabyte.
func Damage(f *testing.F, s Subject, writable func(image []byte) bool, seeds ...uint32) {
	store := s.create(f)
	n := s.mustOpen(f, store, readWrite)
	for _, off := range []int64{0, 1 << 20, s.size() - 512} {
		if err := n.WriteAt(context.Background(), bytes.Repeat([]byte{0xa5}, 512), off, 0); err != nil {
			f.Fatal(err)
		}
	}
	mustClose(f, n)
	good := store.Bytes(s.base())
	for _, at := range seeds {
		for _, over := range []string{"\x00\x00\x00\x00", "\xff\xff\xff\xff", "\x01\x00\x00\x00\x00\x00\x00\x00", "\x00\x00\x00\x80\x00\x00\x00\x00"} {
			f.Add(at, []byte(over), uint32(0), []byte{})
		}
	}
	f.Fuzz(func(t *testing.T, at uint32, over []byte, at2 uint32, over2 []byte) {
		image := bytes.Clone(good)
		copy(image[at%uint32(len(image)):], over)
		copy(image[at2%uint32(len(image)):], over2)
		for _, flags := range []formats.OpenFlags{0, formats.NoIO, formats.ForCheck, readWrite, readWrite | formats.ForCheck} {
			if flags.Has(formats.ReadWrite) && !writable(image) {
				continue
			}
			damaged := NewStore()
			damaged.Put(s.base(), image)
			s.exercise(t, damaged, flags)
			if !flags.Has(formats.ReadWrite) && !bytes.Equal(damaged.Bytes(s.base()), image) {
				t.Errorf("opened with flags %#x: the image was changed", flags)
			}
		}
	})
}

// exercise does to an image what there is to do.
func (s Subject) exercise(t *testing.T, store *Store, flags formats.OpenFlags) {
	n, err := s.open(t, store, flags)
	if err != nil {
		return
	}
	defer n.Close()
	ctx := context.Background()
	p := make([]byte, 64<<10)
	for _, off := range []int64{0, 1 << 20, n.Size() - 512} {
		if flags.Has(formats.NoIO) || off < 0 || off >= n.Size() {
			continue
		}
		part := p[:min(int64(len(p)), n.Size()-off)]
		_ = n.ReadAt(ctx, part, off)
		_, _ = n.Status(ctx, off, n.Size()-off)
		if flags.Has(formats.ReadWrite) && !flags.Has(formats.ForCheck) { // who checks does not write
			_ = n.WriteAt(ctx, part[:512], off, 0)
			_ = n.WriteZeroes(ctx, off, int64(len(part)), formats.MayUnmap)
		}
	}
	fix := formats.FixMode(0)
	if flags.Has(formats.ReadWrite) {
		fix = formats.FixLeaks | formats.FixErrors
	}
	if c, ok := formats.As[formats.Checker](n); ok && flags.Has(formats.ForCheck) {
		_ = n.Exclusive(func() error {
			_, err := c.Check(ctx, fix, s.env(t, store).Env)
			return err
		})
	}
}
