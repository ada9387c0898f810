package vdi_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/formats/formatstest"
	"platter/formats/raw"
	"platter/formats/vdi"
)

// FuzzOpen opens damaged images, reads, checks, and writes them: an error is right, a panic or a hang is not.
func FuzzOpen(f *testing.F) {
	name := filepath.Join(f.TempDir(), "seed.vdi")
	makeImage(f, name, "")
	seed, err := os.ReadFile(name)
	if err != nil {
		f.Fatal(err)
	}
	for _, at := range []uint32{0, 64, 68, 76, 340, 344, 360, 368, 376, 384, 388, atLink, atLink + 16, 512, 516} {
		f.Add(at, []byte{0xff, 0xff, 0xff, 0x7f}, uint32(512), []byte{0, 0, 0, 0, 0, 0, 0, 0})
		f.Add(at, []byte{0, 0, 1, 0}, uint32(388), []byte{1, 0})
	}
	f.Fuzz(func(t *testing.T, at uint32, over []byte, at2 uint32, over2 []byte) {
		data := bytes.Clone(seed)
		copy(data[at%uint32(len(data)):], over)
		copy(data[at2%uint32(len(data)):], over2)
		store := formatstest.NewStore()
		store.Put("a.vdi", data)
		quiet := func(string, ...any) {}
		e := &chain.Env{Registry: formats.NewRegistry(store.Driver(), raw.Driver(), vdi.Driver()),
			Env: &formats.Env{Warn: quiet, Report: quiet}}
		for _, flags := range []formats.OpenFlags{formats.NoBacking, formats.NoBacking | formats.ReadWrite} {
			n, err := chain.Open(t.Context(), e, chain.Request{Filename: formatstest.Name("a.vdi"), Format: "vdi", Flags: flags})
			if err != nil {
				continue
			}
			p := make([]byte, min(64<<10, n.Size()))
			n.ReadAt(t.Context(), p, 0)
			n.StatusAbove(t.Context(), nil, 0, n.Size())
			// Check tells of each wrong entry, and there may be very many.
			if c, ok := formats.As[formats.Checker](n); ok && binary.LittleEndian.Uint32(data[384:]) < 1<<16 {
				c.Check(t.Context(), 0, e.Env)
			}
			// A block is a MiB of memory here, and where it goes the image says.
			if binary.LittleEndian.Uint32(data[384:]) < 16 && binary.LittleEndian.Uint32(data[344:]) < 16<<20 && flags.Has(formats.ReadWrite) {
				n.WriteAt(t.Context(), p[:min(512, len(p))], 0, 0)
			}
			n.Close()
		}
	})
}
